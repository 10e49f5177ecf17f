//! Ports, durations, sizes and lists as they are written.

use std::time::Duration;

use base::units::{parse_duration, parse_size};
use core_listener::ListenAddress;

use crate::config::file::{DurationSetting, OneOrMany, PortSetting, SizeSetting};
use crate::config::load::ConfigError;

/// Both ports of a section; equal ones mean TLS alone (L2).
pub(super) fn ports(
    section: &str,
    plain: &Option<PortSetting>,
    secure: &Option<PortSetting>,
) -> Result<(Option<ListenAddress>, Option<ListenAddress>), ConfigError> {
    let plain = port(&format!("{section}.port"), plain)?;
    let secure = port(&format!("{section}.securePort"), secure)?;
    // Two ports "0" are two different free ports.
    let free = |address: &ListenAddress| match address {
        ListenAddress::Wildcard(port) | ListenAddress::Host(_, port) => *port == 0,
        ListenAddress::Tcp(address) => address.port() == 0,
        _ => false,
    };
    let keep = |address: &ListenAddress| free(address) || secure.as_ref() != Some(address);
    Ok((plain.filter(keep), secure))
}

pub(super) fn port(
    key: &str,
    setting: &Option<PortSetting>,
) -> Result<Option<ListenAddress>, ConfigError> {
    let expected = "a port (0 to 65535), host:port, a socket path with a slash, or null";
    let text = match setting {
        None | Some(PortSetting::Switch(false)) => return Ok(None),
        Some(PortSetting::Switch(true)) => return Err(ConfigError::wrong(key, true, expected)),
        Some(PortSetting::Text(text)) if text.is_empty() || text == "null" => return Ok(None),
        Some(setting) => show(setting),
    };
    match text.parse() {
        Ok(address) => Ok(Some(address)),
        Err(_) => Err(ConfigError::wrong(key, text, expected)),
    }
}

pub(super) fn show(setting: &PortSetting) -> String {
    match setting {
        PortSetting::Number(port) => port.to_string(),
        PortSetting::Text(text) => text.clone(),
        PortSetting::Switch(on) => on.to_string(),
    }
}

pub(super) fn duration(key: &str, setting: &DurationSetting) -> Result<Duration, ConfigError> {
    let text = match setting {
        DurationSetting::Number(number) => number.to_string(),
        DurationSetting::Text(text) => text.clone(),
    };
    parse_duration(&text, Duration::from_secs(1)).map_err(|_| {
        ConfigError::wrong(key, text, "a number and one of ms, s, m, h, d, M (30 days)")
    })
}

pub(super) fn size(key: &str, setting: &SizeSetting) -> Result<u64, ConfigError> {
    match setting {
        SizeSetting::Bytes(bytes) => Ok(*bytes),
        SizeSetting::Text(text) => parse_size(text).map_err(|_| {
            ConfigError::wrong(
                key,
                text,
                "a whole number of bytes and optionally K, M, G or T",
            )
        }),
    }
}

/// Milliseconds, of which 0 means no limit.
pub(super) fn limit(milliseconds: u64) -> Option<Duration> {
    (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
}

/// The texts of a list, or of one text with commas.
pub(super) fn list(setting: Option<&OneOrMany>) -> Vec<String> {
    match setting {
        None => Vec::new(),
        Some(OneOrMany::One(text)) => text.split(',').map(|one| one.trim().to_owned()).collect(),
        Some(OneOrMany::Many(many)) => many.iter().flatten().cloned().collect(),
    }
}
