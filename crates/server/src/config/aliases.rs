//! Names that older installations use for settings (`config-and-cli.md` §2.1).

/// Old name in lower case, and the path of the setting.
const ALIASES: &[(&str, &str)] = &[
    ("hdb_root", "rootPath"),
    ("hdb_root_key", "rootPath"),
    ("operationsapi_root", "rootPath"),
    ("server_port", "operationsApi.network.port"),
    ("cors_on", "operationsApi.network.cors"),
    ("cors_whitelist", "operationsApi.network.corsAccessList"),
    ("cors_accesslist", "operationsApi.network.corsAccessList"),
    ("server_timeout_ms", "operationsApi.network.timeout"),
    (
        "server_keep_alive_timeout",
        "operationsApi.network.keepAliveTimeout",
    ),
    (
        "server_headers_timeout",
        "operationsApi.network.headersTimeout",
    ),
    ("certificate", "tls.certificate"),
    ("private_key", "tls.privateKey"),
    ("customfunctions_tls_certificate", "tls.certificate"),
    ("customfunctions_tls_privatekey", "tls.privateKey"),
    (
        "customfunctions_tls_certificateauthority",
        "tls.certificateAuthority",
    ),
    ("log_level", "logging.level"),
    ("log_path", "logging.path"),
    ("log_to_file", "logging.file"),
    ("log_to_stdstreams", "logging.stdStreams"),
    ("threads", "threads.count"),
    ("max_http_threads", "threads.count"),
    ("max_hdb_processes", "threads.count"),
    ("http_threads", "threads.count"),
    ("customfunctions_processes", "threads.count"),
    ("custom_functions_port", "http.port"),
    ("customfunctions_network_port", "http.port"),
    ("customfunctions_network_cors", "http.cors"),
    (
        "customfunctions_network_corsaccesslist",
        "http.corsAccessList",
    ),
    ("customfunctions_network_timeout", "http.timeout"),
    (
        "customfunctions_network_keepalivetimeout",
        "http.keepAliveTimeout",
    ),
    (
        "customfunctions_network_headerstimeout",
        "http.headersTimeout",
    ),
    ("custom_functions_directory", "componentsRoot"),
    ("customfunctions_root", "componentsRoot"),
    (
        "operation_token_timeout",
        "authentication.operationTokenTimeout",
    ),
    (
        "refresh_token_timeout",
        "authentication.refreshTokenTimeout",
    ),
];

/// The setting an old name stands for.
pub(super) fn path(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    let found = ALIASES.iter().find(|(alias, _)| *alias == lower);
    found.map(|(_, path)| *path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::names::known;

    #[test]
    fn every_alias_stands_for_a_setting_that_exists() {
        let known = known();
        for (alias, path) in ALIASES {
            assert!(
                known.iter().any(|key| key.path() == *path),
                "{alias}: {path}"
            );
        }
    }
}
