//! `logging`.

use serde::{Deserialize, Serialize};

use super::{DurationSetting, SizeSetting};

section! {
    /// `logging`.
    Logging {
        /// `trace`, `debug`, `info`, `warn`, `error`, `fatal` or `notify`.
        level: String = "warn".to_owned(),
        /// Write a file.
        file: bool = true,
        /// Directory of log files; `<rootPath>/log` when absent.
        root: Option<String> = None,
        /// The file; `<root>/hdb.log` when absent.
        path: Option<String> = None,
        /// Also write to standard output.
        std_streams: bool = false,
        /// Collect what components print.
        console: bool = false,
        /// Colours on a terminal.
        colors: bool = true,
        /// `text` or `json`.
        format: String = "text".to_owned(),
        /// When a file is put aside and a new one begun.
        rotation: Rotation = Rotation::default(),
        /// Which authentications are written to the log.
        audit_auth_events: AuditAuthEvents = AuditAuthEvents::default(),
        /// The log of applications; absent is the main log.
        external: Option<ComponentLogging> = None,
        /// Keep the change log; a table can decide otherwise with `@table(audit:)`.
        audit_log: bool = true,
        /// How far back subscriptions can resume; a number is seconds.
        audit_retention: DurationSetting = DurationSetting::Text("3d".to_owned()),
    }
}

section! {
    /// `logging.rotation`.
    Rotation {
        /// Whether files are rotated; acts only if `interval` or `maxSize` is set.
        enabled: bool = true,
        /// Time after which a file is put aside: a number and `D`, `H` or `M` (minutes).
        interval: Option<String> = None,
        /// Size after which a file is put aside.
        max_size: Option<SizeSetting> = None,
        /// Compress files that were put aside, with gzip.
        compress: bool = false,
        /// Directory of files that were put aside; that of the log when absent.
        path: Option<String> = None,
        /// Age after which they are deleted; a number is milliseconds. Absent is never.
        retention: Option<DurationSetting> = None,
    }
}

section! {
    /// `logging.auditAuthEvents`.
    #[derive(Eq)]
    AuditAuthEvents {
        /// Failed authentications.
        log_failed: bool = false,
        /// Successful authentications.
        log_successful: bool = false,
    }
}

section! {
    /// A log of one component: `<section>.logging`.
    ComponentLogging {
        /// Least severe level; absent is that of the main log.
        level: Option<String> = None,
        /// A file of its own.
        path: Option<String> = None,
        /// A directory of its own, for a file with the name of the component.
        root: Option<String> = None,
        /// Name in the line; absent is that of the component.
        tag: Option<String> = None,
        /// Also to standard output; absent as the main log.
        std_streams: Option<bool> = None,
    }
}
