//! Settings of the broker, checked.

use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// Limits and choices of every connection; see each field for its default and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttConfig {
    /// Largest PUBLISH that is read, in bytes, fixed header included; default 100 MiB. Announced to 5.0 clients.
    pub max_packet_size: NonZeroU32,
    /// Largest packet other than PUBLISH that is read, in bytes; default 1 MiB, which holds a CONNECT with every
    /// field full. Such packets are taken apart in memory, and CONNECT comes before anyone is authenticated.
    pub max_control_packet_size: NonZeroU32,
    /// How long a connection may take to send CONNECT; default 10 s.
    pub connect_timeout: Duration,
    /// Receive Maximum: QoS 1 and 2 publications that a 5.0 client may have unacknowledged; default 100.
    pub receive_maximum: NonZeroU16,
    /// Topic Alias Maximum: aliases that a 5.0 client may use; default 16.
    pub topic_alias_maximum: u16,
    /// Unacknowledged deliveries to a client that names no Receive Maximum; default 100.
    pub send_window: NonZeroU16,
    /// Unacknowledged deliveries to a client, whatever its Receive Maximum; default 1000.
    pub max_send_window: NonZeroU16,
    /// Subscriptions of one session, and filters of one SUBSCRIBE; default 10,000. More are refused with 0x97.
    pub max_subscriptions: NonZeroUsize,
    /// Publications of one connection that may wait for their commit; default 256. Reading pauses beyond that.
    pub max_publishes_in_progress: NonZeroUsize,
    /// Bytes waiting for the socket beyond which neither deliveries are fetched nor packets read; default 64 KiB.
    pub outbox_bytes: NonZeroUsize,
    /// How long the socket may take no byte while bytes are waiting; default 30 s. Then the connection is closed.
    pub write_timeout: Duration,
    /// How often users and permissions of a live connection are checked again; default 30 s.
    pub permission_refresh: Duration,
    /// How often the `$SYS` topics are brought up to date; default 10 s.
    pub system_interval: Duration,
    /// How long a new connection waits for the earlier one with its client identifier to close; default 5 s.
    pub take_over_timeout: Duration,
    /// How long a closed connection is kept for its last bytes and pending commits; default 10 s.
    pub close_timeout: Duration,
    /// How long a 3.1.1 session with Clean Session 0 is kept after its connection, in seconds; default 7 days (D6).
    pub session_expiry_s: u32,
    /// Longest Session Expiry Interval that a 5.0 client gets, in seconds; default `u32::MAX`, which is for ever.
    /// 0 keeps no session at all.
    pub max_session_expiry_s: u32,
    /// Whether clients without any identity are refused; default `true`.
    pub require_authentication: bool,
    /// Whether a refused publication closes a 3.1.1 connection, whose acknowledgement cannot say so; default
    /// `false`.
    pub close_on_refused_publish: bool,
}

impl Default for MqttConfig {
    fn default() -> Self {
        const fn nonzero_u16(n: u16) -> NonZeroU16 {
            NonZeroU16::new(n).expect("not zero")
        }
        const fn nonzero(n: usize) -> NonZeroUsize {
            NonZeroUsize::new(n).expect("not zero")
        }
        Self {
            max_packet_size: const { NonZeroU32::new(100 * 1024 * 1024).expect("not zero") },
            max_control_packet_size: const { NonZeroU32::new(1024 * 1024).expect("not zero") },
            connect_timeout: Duration::from_secs(10),
            receive_maximum: const { nonzero_u16(100) },
            topic_alias_maximum: 16,
            send_window: const { nonzero_u16(100) },
            max_send_window: const { nonzero_u16(1000) },
            max_subscriptions: const { nonzero(10_000) },
            max_publishes_in_progress: const { nonzero(256) },
            outbox_bytes: const { nonzero(64 * 1024) },
            write_timeout: Duration::from_secs(30),
            permission_refresh: Duration::from_secs(30),
            system_interval: Duration::from_secs(10),
            take_over_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(10),
            session_expiry_s: 7 * 24 * 3600,
            max_session_expiry_s: u32::MAX,
            require_authentication: true,
            close_on_refused_publish: false,
        }
    }
}

/// A setting with a value that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is {value}, expected {expected}")]
pub struct ConfigError {
    /// Name of the field.
    pub setting: &'static str,
    /// What it is.
    pub value: String,
    /// What would be right.
    pub expected: &'static str,
}

impl MqttConfig {
    /// Checks what the types cannot say. [`Broker::new`](crate::Broker::new) calls it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the first setting that cannot work.
    pub fn check(&self) -> Result<(), ConfigError> {
        const LARGEST_PACKET: u32 = 268_435_455 + 5;
        for (setting, size) in [
            ("max_packet_size", self.max_packet_size),
            ("max_control_packet_size", self.max_control_packet_size),
        ] {
            if !(64..=LARGEST_PACKET).contains(&size.get()) {
                return Err(ConfigError {
                    setting,
                    value: size.to_string(),
                    expected: "64 to 268435460 bytes",
                });
            }
        }
        for (setting, duration) in [
            ("connect_timeout", self.connect_timeout),
            ("write_timeout", self.write_timeout),
            ("permission_refresh", self.permission_refresh),
            ("system_interval", self.system_interval),
            ("take_over_timeout", self.take_over_timeout),
            ("close_timeout", self.close_timeout),
        ] {
            if duration.is_zero() {
                return Err(ConfigError {
                    setting,
                    value: "0".to_owned(),
                    expected: "a duration above zero",
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_cannot_work_is_named() {
        assert_eq!(MqttConfig::default().check(), Ok(()));
        let config = MqttConfig {
            write_timeout: Duration::ZERO,
            ..MqttConfig::default()
        };
        assert_eq!(config.check().unwrap_err().setting, "write_timeout");
    }
}
