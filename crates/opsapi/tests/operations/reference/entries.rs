//! What the reference says of each operation, in the order of the page and of the execution of examples.

/// One operation.
pub(super) struct Entry {
    pub(super) group: &'static str,
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    /// What it needs when it checks that itself.
    pub(super) need: &'static str,
    pub(super) parameters: &'static [(&'static str, &'static str)],
    pub(super) request: &'static str,
    pub(super) answer: &'static str,
    pub(super) errors: &'static [(u16, &'static str)],
}

const EMPTY: Entry = Entry {
    group: "",
    name: "",
    text: "",
    need: "a login",
    parameters: &[],
    request: "",
    answer: "",
    errors: &[],
};

const DATABASE: (&str, &str) = ("database / schema", "default `data`");
const TABLE: (&str, &str) = ("table", "required");
const JOB: &str = r#"{"message": "Starting job with id …", "job_id": "…"}"#;

const STRUCTURE: &str = "Databases and tables";
const RECORDS: &str = "Records";
const JOBS: &str = "Bulk loads, exports and jobs";
const USERS: &str = "Users and roles";
const SESSIONS: &str = "Tokens and sessions";
const CONFIGURATION: &str = "Configuration and logs";
const SYSTEM: &str = "System";
const COMPONENTS: &str = "Components";
const BACKUPS: &str = "Backups";

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        group: STRUCTURE,
        name: "create_database",
        text: "Makes a database.",
        parameters: &[DATABASE],
        request: r#"{"operation": "create_database", "database": "shop"}"#,
        answer: r#"{"message": "database 'shop' successfully created"}"#,
        errors: &[(400, "`database 'shop' already exists`")],
        ..EMPTY
    },
    Entry {
        group: STRUCTURE,
        name: "create_table",
        text: "Makes a table, and its database if there is none. With `attributes` the table is declared; without, every new property becomes an indexed attribute.",
        parameters: &[
            TABLE,
            DATABASE,
            (
                "primary_key / hash_attribute",
                "required unless an attribute is marked",
            ),
            (
                "attributes",
                "objects `{name, type?, indexed?, is_primary_key?, nullable?}`",
            ),
            ("expiration", "seconds until a record expires"),
            ("audit", "keep the log of changes; default true"),
        ],
        request: r#"{"operation": "create_table", "database": "shop", "table": "Item", "primary_key": "id"}"#,
        answer: r#"{"message": "table 'shop.Item' successfully created."}"#,
        errors: &[(400, "`Table 'Item' already exists in 'shop'`")],
        ..EMPTY
    },
    Entry {
        group: STRUCTURE,
        name: "create_attribute",
        text: "Adds an attribute to a table.",
        need: "the permission to insert into the table",
        parameters: &[
            TABLE,
            ("attribute", "required"),
            DATABASE,
            ("indexed", "default true"),
        ],
        request: r#"{"operation": "create_attribute", "database": "shop", "table": "Item", "attribute": "color"}"#,
        answer: r#"{"message": "attribute 'shop.Item.color' successfully created."}"#,
        errors: &[(400, "`attribute 'color' already exists in shop.Item`")],
    },
    Entry {
        group: STRUCTURE,
        name: "drop_attribute",
        text: "Removes an attribute and its index; the records of a table that is not declared lose the value as well.",
        parameters: &[TABLE, ("attribute", "required"), DATABASE],
        request: r#"{"operation": "drop_attribute", "database": "shop", "table": "Item", "attribute": "color"}"#,
        answer: r#"{"message": "successfully deleted attribute 'color'"}"#,
        errors: &[
            (
                400,
                "`You cannot drop a hash attribute`, `cannot drop internal timestamp attribute: __createdtime__`",
            ),
            (404, "`Attribute 'color' does not exist on 'shop.Item'`"),
        ],
        ..EMPTY
    },
    Entry {
        group: STRUCTURE,
        name: "describe_all",
        text: "All databases and tables that the role may read.",
        parameters: &[
            ("exact_count", "count every record; default false"),
            ("include_computed", "default false"),
        ],
        request: r#"{"operation": "describe_all"}"#,
        answer: r#"{"shop": {"Item": {"schema": "shop", "name": "Item", "hash_attribute": "id", "…": "…"}}, "…": "…"}"#,
        ..EMPTY
    },
    Entry {
        group: STRUCTURE,
        name: "describe_database",
        text: "The tables of a database.",
        parameters: &[
            DATABASE,
            ("exact_count, include_computed", "as in describe_all"),
        ],
        request: r#"{"operation": "describe_database", "database": "shop"}"#,
        answer: r#"{"Item": {"schema": "shop", "name": "Item", "…": "…"}}"#,
        ..EMPTY
    },
    Entry {
        group: STRUCTURE,
        name: "describe_table",
        text: "Attributes, settings, counts and sizes of a table.",
        parameters: &[
            TABLE,
            DATABASE,
            ("exact_count, include_computed", "as in describe_all"),
        ],
        request: r#"{"operation": "describe_table", "database": "shop", "table": "Item"}"#,
        answer: r#"{"schema": "shop", "name": "Item", "audit": true, "schema_defined": false, "attributes": [{"attribute": "id", "is_primary_key": true}, "…"], "record_count": 0, "…": "…"}"#,
        ..EMPTY
    },
    Entry {
        group: RECORDS,
        name: "insert",
        text: "Makes records. Keys that exist are skipped; a record without key gets one.",
        need: "the permission to insert, also for each attribute",
        parameters: &[
            TABLE,
            ("records", "required, objects"),
            DATABASE,
            ("expiresAt", "milliseconds since 1970"),
        ],
        request: r#"{"operation": "insert", "database": "shop", "table": "Item", "records": [{"id": "a1", "qty": 3}, {"id": "a2"}]}"#,
        answer: r#"{"message": "inserted 2 of 2 records", "inserted_hashes": ["a1", "a2"], "skipped_hashes": []}"#,
        ..EMPTY
    },
    Entry {
        group: RECORDS,
        name: "update",
        text: "Changes records that exist; properties that are not sent are kept.",
        need: "the permission to update, also for each attribute",
        parameters: &[TABLE, ("records", "required, each with its key"), DATABASE],
        request: r#"{"operation": "update", "database": "shop", "table": "Item", "records": [{"id": "a1", "qty": 4}, {"id": "zz"}]}"#,
        answer: r#"{"message": "updated 1 of 2 records", "update_hashes": ["a1"], "skipped_hashes": ["zz"]}"#,
        errors: &[(
            400,
            "`a valid hash attribute must be provided with update record, check log for more info`",
        )],
    },
    Entry {
        group: RECORDS,
        name: "upsert",
        text: "Changes records, or makes those that do not exist.",
        need: "the permissions to insert and to update",
        parameters: &[TABLE, ("records", "required"), DATABASE],
        request: r#"{"operation": "upsert", "database": "shop", "table": "Item", "records": [{"id": "a1", "qty": 5}, {"id": "a3"}]}"#,
        answer: r#"{"message": "upserted 2 of 2 records", "upserted_hashes": ["a1", "a3"]}"#,
        ..EMPTY
    },
    Entry {
        group: RECORDS,
        name: "delete",
        text: "Removes records by key.",
        need: "the permission to delete",
        parameters: &[TABLE, ("ids / hash_values", "required"), DATABASE],
        request: r#"{"operation": "delete", "database": "shop", "table": "Item", "ids": ["a3"]}"#,
        answer: r#"{"message": "1 of 1 record successfully deleted", "deleted_hashes": ["a3"], "skipped_hashes": []}"#,
        ..EMPTY
    },
    Entry {
        group: RECORDS,
        name: "search_by_id",
        text: "Records by key, in the order of the keys; those that do not exist leave no trace.",
        need: "the permission to read, also for each attribute",
        parameters: &[
            TABLE,
            ("ids / hash_values", "required"),
            ("get_attributes / select", "required; `[\"*\"]` is all"),
            DATABASE,
        ],
        request: r#"{"operation": "search_by_id", "database": "shop", "table": "Item", "ids": ["a1", "zz"], "get_attributes": ["qty"]}"#,
        answer: r#"[{"qty": 5}]"#,
        errors: &[(400, "`unknown attribute 'x'`")],
    },
    Entry {
        group: RECORDS,
        name: "search_by_value",
        text: "Records with a value; a star at an end of a text stands for anything.",
        need: "the permission to read, also for each attribute",
        parameters: &[
            TABLE,
            ("attribute / search_attribute", "required"),
            ("value / search_value", "required"),
            DATABASE,
            ("get_attributes / select", "default: the whole record"),
            ("limit, offset", "how many, after how many"),
            ("sort, desc / reverse", "order, as in search_by_conditions"),
        ],
        request: r#"{"operation": "search_by_value", "database": "shop", "table": "Item", "attribute": "id", "value": "a*", "get_attributes": ["id"]}"#,
        answer: r#"[{"id": "a1"}, {"id": "a2"}]"#,
        ..EMPTY
    },
    Entry {
        group: RECORDS,
        name: "search_by_conditions",
        text: "Records that meet conditions. Comparators: `equals`, `not_equal`, `contains`, `starts_with`, `ends_with`, `greater_than`, `greater_than_equal`, `less_than`, `less_than_equal`, `between`. Conditions nest as `{operator, conditions}`.",
        need: "the permission to read, also for each attribute",
        parameters: &[
            TABLE,
            (
                "conditions",
                "required, objects `{attribute, comparator, value}`",
            ),
            ("operator", "`and` (default) or `or`"),
            DATABASE,
            ("get_attributes / select", "default: the whole record"),
            ("sort", "`{attribute, descending?, next?}`"),
            ("limit, offset", "how many, after how many"),
        ],
        request: r#"{"operation": "search_by_conditions", "database": "shop", "table": "Item", "conditions": [{"attribute": "qty", "comparator": "greater_than", "value": 2}], "get_attributes": ["id", "qty"]}"#,
        answer: r#"[{"id": "a1", "qty": 5}]"#,
        ..EMPTY
    },
    Entry {
        group: RECORDS,
        name: "read_audit_log",
        text: "The log of changes of a table. Neighbouring changes of one transaction and operation are one entry.",
        parameters: &[
            TABLE,
            DATABASE,
            (
                "search_type",
                "`timestamp` (default), `hash_value`, `username`",
            ),
            (
                "search_values",
                "`[from, to]` in milliseconds, keys, or names",
            ),
            ("limit", "entries, for each key or name"),
        ],
        request: r#"{"operation": "read_audit_log", "table": "Dog", "search_type": "username", "search_values": ["bob"]}"#,
        answer: r#"{"bob": [{"operation": "delete", "user_name": "bob", "timestamp": 3000, "hash_values": ["a2"], "…": "…"}]}"#,
        errors: &[(
            400,
            "`To use this operation audit log must be enabled in harperdb-config.yaml`",
        )],
        ..EMPTY
    },
    Entry {
        group: RECORDS,
        name: "read_transaction_log",
        text: "The log of changes of a table in a range of time.",
        parameters: &[
            TABLE,
            DATABASE,
            ("from, to", "milliseconds since 1970"),
            ("limit", "entries"),
        ],
        request: r#"{"operation": "read_transaction_log", "table": "Dog", "from": 2500}"#,
        answer: r#"[{"operation": "delete", "user": "bob", "timestamp": 3000, "hash_values": ["a2"], "…": "…"}]"#,
        ..EMPTY
    },
    Entry {
        group: RECORDS,
        name: "delete_audit_logs_before",
        text: "Starts a job that removes old entries of the log of a table.",
        parameters: &[
            TABLE,
            ("timestamp", "required, milliseconds since 1970"),
            DATABASE,
        ],
        request: r#"{"operation": "delete_audit_logs_before", "table": "Dog", "timestamp": 2000}"#,
        answer: JOB,
        ..EMPTY
    },
    Entry {
        group: RECORDS,
        name: "delete_transaction_logs_before",
        text: "As delete_audit_logs_before.",
        parameters: &[
            TABLE,
            ("timestamp", "required, milliseconds since 1970"),
            DATABASE,
        ],
        request: r#"{"operation": "delete_transaction_logs_before", "table": "Dog", "timestamp": 2000}"#,
        answer: JOB,
        ..EMPTY
    },
    Entry {
        group: JOBS,
        name: "csv_data_load",
        text: "Starts a job that loads rows. The first row names the columns; cells have the type of their attribute, or the one they look like. All rows are checked before the first is written; then each 1000 are one transaction.",
        need: "the permission of the action, also for each column",
        parameters: &[
            TABLE,
            ("data", "required, the rows as text"),
            DATABASE,
            ("action", "`insert` (default), `update`, `upsert`"),
        ],
        request: r#"{"operation": "csv_data_load", "database": "shop", "table": "Item", "action": "upsert", "data": "id,qty\na1,7\nb1,8\n"}"#,
        answer: JOB,
        ..EMPTY
    },
    Entry {
        group: JOBS,
        name: "get_job",
        text: "One job: its status is `CREATED`, `IN_PROGRESS`, `COMPLETE` or `ERROR`. A message of an error may be an object.",
        parameters: &[("id", "required")],
        request: r#"{"operation": "get_job", "id": "<job>"}"#,
        answer: r#"[{"id": "<job>", "user": "admin", "type": "csv_data_load", "status": "COMPLETE", "start_datetime": "…", "end_datetime": "…", "created_datetime": "…", "message": "successfully loaded 2 of 2 records", "progress": {"done": 2, "total": 2}}]"#,
        ..EMPTY
    },
    Entry {
        group: JOBS,
        name: "search_jobs_by_start_date",
        text: "Jobs that were started between two dates, oldest first.",
        parameters: &[
            ("from_date", "required, ISO 8601"),
            ("to_date", "required, ISO 8601"),
        ],
        request: r#"{"operation": "search_jobs_by_start_date", "from_date": "2020-01-01", "to_date": "2120-01-01"}"#,
        answer: r#"[{"id": "…", "start_datetime_converted": "…Z", "…": "…"}, "…"]"#,
        ..EMPTY
    },
    Entry {
        group: JOBS,
        name: "export_local",
        text: "Starts a job that writes the result of a search into a file of the server. The format is appended to the name; the file appears when it is whole.",
        parameters: &[
            ("format", "required, `json` or `csv`"),
            ("path", "required, a directory of the server"),
            ("filename", "default: the time"),
            ("search_operation", "required, a search as it would be sent"),
        ],
        request: r#"{"operation": "export_local", "format": "csv", "path": "<directory>", "filename": "items", "search_operation": {"operation": "search_by_value", "database": "shop", "table": "Item", "attribute": "id", "value": "*", "get_attributes": ["id", "qty"]}}"#,
        answer: JOB,
        ..EMPTY
    },
    Entry {
        group: JOBS,
        name: "csv_file_load",
        text: "As csv_data_load, from a file of the server.",
        need: "the permission of the action, also for each column",
        parameters: &[
            TABLE,
            ("file_path", "required, absolute"),
            DATABASE,
            ("action", "as in csv_data_load"),
        ],
        request: r#"{"operation": "csv_file_load", "database": "shop", "table": "Item", "action": "update", "file_path": "<directory>/items.csv"}"#,
        answer: JOB,
        errors: &[(400, "`No such file or directory <path>`")],
    },
    Entry {
        group: JOBS,
        name: "csv_url_load",
        text: "As csv_data_load, from an HTTP or HTTPS server, which has to answer 200 with CSV, plain text, Excel text or bytes.",
        need: "the permission of the action, also for each column",
        parameters: &[
            TABLE,
            ("csv_url", "required"),
            ("passthrough_headers", "header fields to send"),
            DATABASE,
            ("action", "as in csv_data_load"),
        ],
        request: r#"{"operation": "csv_url_load", "database": "shop", "table": "Item", "csv_url": "http://127.0.0.1:9/items.csv"}"#,
        answer: JOB,
        errors: &[(400, "`'csv_url' must be a valid url`")],
    },
    Entry {
        group: JOBS,
        name: "delete_records_before",
        text: "Starts a job that removes records that were made before a date.",
        parameters: &[("date", "required, ISO 8601"), TABLE, DATABASE],
        request: r#"{"operation": "delete_records_before", "database": "shop", "table": "Item", "date": "2020-01-01"}"#,
        answer: JOB,
        errors: &[(400, "the table has no attribute with the created time")],
        ..EMPTY
    },
    Entry {
        group: STRUCTURE_END,
        name: "drop_table",
        text: "Removes a table with its records, indexes and log.",
        parameters: &[TABLE, DATABASE],
        request: r#"{"operation": "drop_table", "database": "shop", "table": "Item"}"#,
        answer: r#"{"message": "successfully deleted table 'shop.Item'"}"#,
        ..EMPTY
    },
    Entry {
        group: STRUCTURE_END,
        name: "drop_database",
        text: "Removes a database with everything in it.",
        parameters: &[("database / schema", "required")],
        request: r#"{"operation": "drop_database", "database": "shop"}"#,
        answer: r#"{"message": "successfully deleted 'shop'"}"#,
        ..EMPTY
    },
    Entry {
        group: USERS,
        name: "add_role",
        text: "Makes a role with a permission object.",
        parameters: &[("role", "required"), ("permission", "required")],
        request: r#"{"operation": "add_role", "role": "clerk", "permission": {"super_user": false}}"#,
        answer: r#"{"role": "clerk", "id": "clerk", "permission": {"super_user": false, "…": "…"}, "…": "…"}"#,
        errors: &[(409, "`A role with name 'clerk' already exists`")],
        ..EMPTY
    },
    Entry {
        group: USERS,
        name: "alter_role",
        text: "Changes the permission or the name of a role.",
        parameters: &[
            ("id", "required"),
            ("permission", "required"),
            ("role", "a new name"),
        ],
        request: r#"{"operation": "alter_role", "id": "clerk", "permission": {"super_user": false, "structure_user": true}}"#,
        answer: r#"{"id": "clerk", "…": "…"}"#,
        errors: &[(400, "`Invalid role id`")],
        ..EMPTY
    },
    Entry {
        group: USERS,
        name: "list_roles",
        text: "All roles.",
        request: r#"{"operation": "list_roles"}"#,
        answer: r#"["…"]"#,
        ..EMPTY
    },
    Entry {
        group: USERS,
        name: "add_user",
        text: "Makes a user.",
        parameters: &[
            ("role", "required, its name"),
            ("username", "required"),
            ("password", "required"),
            ("active", "required"),
        ],
        request: r#"{"operation": "add_user", "role": "clerk", "username": "ana", "password": "s3cret!", "active": true}"#,
        answer: r#"{"message": "ana successfully added"}"#,
        errors: &[
            (404, "`clerk role not found`"),
            (409, "`User ana already exists`"),
        ],
        ..EMPTY
    },
    Entry {
        group: USERS,
        name: "alter_user",
        text: "Changes a user at once, also for connections that are open.",
        parameters: &[
            ("username", "required"),
            ("password, role, active", "one of them at least"),
        ],
        request: r#"{"operation": "alter_user", "username": "ana", "active": false}"#,
        answer: r#"{"message": "updated 1 of 1 records", "update_hashes": ["ana"], "…": "…"}"#,
        ..EMPTY
    },
    Entry {
        group: USERS,
        name: "list_users",
        text: "All users with their roles, without secrets.",
        request: r#"{"operation": "list_users"}"#,
        answer: r#"["…"]"#,
        ..EMPTY
    },
    Entry {
        group: USERS,
        name: "drop_user",
        text: "Removes a user.",
        parameters: &[("username", "required")],
        request: r#"{"operation": "drop_user", "username": "ana"}"#,
        answer: r#"{"message": "ana successfully deleted"}"#,
        errors: &[(404, "`User ana does not exist`")],
        ..EMPTY
    },
    Entry {
        group: USERS,
        name: "drop_role",
        text: "Removes a role that no active user has.",
        parameters: &[("id", "required")],
        request: r#"{"operation": "drop_role", "id": "clerk"}"#,
        answer: r#"{"message": "clerk successfully deleted"}"#,
        errors: &[
            (404, "`Role not found`"),
            (
                409,
                "`Cannot drop role clerk as it has active user(s) tied to this role`",
            ),
        ],
        ..EMPTY
    },
    Entry {
        group: USERS,
        name: "user_info",
        text: "Who asks, with the role.",
        request: r#"{"operation": "user_info"}"#,
        answer: r#"{"username": "admin", "…": "…"}"#,
        ..EMPTY
    },
    Entry {
        group: SESSIONS,
        name: "create_authentication_tokens",
        text: "Makes a token for operations and one to refresh it, for a user with this password or for who asks.",
        parameters: &[
            ("username, password", "both or none"),
            ("role", "a narrower role"),
            ("expires_in", "seconds, or such as `10m`"),
        ],
        errors: &[(401, "`invalid credentials`")],
        ..EMPTY
    },
    Entry {
        group: SESSIONS,
        name: "refresh_operation_token",
        text: "Makes a new token for operations from a refresh token, in the body or as Bearer.",
        parameters: &[("refresh_token", "unless it comes as Bearer")],
        errors: &[(401, "`invalid token`")],
        ..EMPTY
    },
    Entry {
        group: SESSIONS,
        name: "login",
        text: "Begins a session; its cookie comes with the answer.",
        parameters: &[("username", "required"), ("password", "required")],
        errors: &[(401, "`Login failed`")],
        ..EMPTY
    },
    Entry {
        group: SESSIONS,
        name: "logout",
        text: "Ends the session; with `all` the tokens of the user as well.",
        parameters: &[("all", "default false")],
        ..EMPTY
    },
    Entry {
        group: CONFIGURATION,
        name: "set_configuration",
        text: "Changes settings in the configuration file, whose comments stay; the file as it was is kept in `backup`. They are used after a restart, those of logs at once.",
        parameters: &[(
            "…",
            "paths of settings joined by `_`, in any letter case, with their values",
        )],
        request: r#"{"operation": "set_configuration", "logging_level": "info", "http_port": 9930}"#,
        answer: r#"{"message": "Configuration successfully set. You must restart HarperDB for new config settings to take effect."}"#,
        errors: &[(
            400,
            "`HarperDB config file validation error: 'http.cors' must be a boolean`",
        )],
        ..EMPTY
    },
    Entry {
        group: CONFIGURATION,
        name: "get_configuration",
        text: "All settings, nested as in the file.",
        request: r#"{"operation": "get_configuration"}"#,
        answer: r#"{"…": "…"}"#,
        ..EMPTY
    },
    Entry {
        group: CONFIGURATION,
        name: "read_log",
        text: "Entries of a log of the server, those in rotated files included.",
        parameters: &[
            (
                "start, limit",
                "entries that are passed over (0) and returned at most (1000)",
            ),
            ("level", "of this level and no other"),
            (
                "from, until / to",
                "dates, dates with times, or milliseconds",
            ),
            ("order", "`asc` or `desc` by time; default: as in the files"),
            ("filter", "a text that the entry contains"),
            ("log_name", "default `hdb.log`"),
        ],
        request: r#"{"operation": "read_log", "level": "error", "limit": 1}"#,
        answer: r#"[{"level": "error", "message": "…", "timestamp": "…Z", "thread": "http/3", "tags": ["auth-event"]}]"#,
        errors: &[(404, "there is no log of that name")],
        ..EMPTY
    },
    Entry {
        group: SYSTEM,
        name: "system_information",
        text: "What the machine and the process report of themselves.",
        parameters: &[(
            "attributes",
            "parts, default all: system, time, cpu, memory, disk, network, harperdb_processes, table_size, metrics, threads",
        )],
        request: r#"{"operation": "system_information", "attributes": ["time"]}"#,
        answer: r#"{"time": {"…": "…"}}"#,
        ..EMPTY
    },
    Entry {
        group: SYSTEM,
        name: "set_status",
        text: "Sets a status for others to see.",
        parameters: &[
            ("id", "`primary` (default), `maintenance`, `availability`"),
            (
                "status",
                "required, up to 512 characters; `Available` or `Unavailable` for availability",
            ),
        ],
        request: r#"{"operation": "set_status", "status": "draining"}"#,
        answer: r#"{"id": "primary", "status": "draining", "…": "…"}"#,
        ..EMPTY
    },
    Entry {
        group: SYSTEM,
        name: "get_status",
        text: "One status, or all with those of components.",
        parameters: &[("id", "default: all")],
        request: r#"{"operation": "get_status"}"#,
        answer: r#"{"systemStatus": [{"id": "primary", "status": "draining", "…": "…"}], "componentStatus": [{"name": "shop", "status": "healthy"}], "restartRequired": false}"#,
        errors: &[(404, "there is no such status")],
        ..EMPTY
    },
    Entry {
        group: SYSTEM,
        name: "clear_status",
        text: "Removes a status.",
        parameters: &[("id", "default `primary`")],
        request: r#"{"operation": "clear_status"}"#,
        answer: r#"{"message": "Status successfully cleared"}"#,
        ..EMPTY
    },
    Entry {
        group: SYSTEM,
        name: "restart",
        text: "Restarts the process after requests in flight are answered; its sockets stay open meanwhile.",
        request: r#"{"operation": "restart"}"#,
        answer: r#"{"message": "Restarting HarperDB. This may take up to 60 seconds."}"#,
        ..EMPTY
    },
    Entry {
        group: SYSTEM,
        name: "restart_service",
        text: "The same as a job: the workers of a process come and go together.",
        parameters: &[(
            "service",
            "required: `http_workers`, `http`, `custom_functions`, `harperdb`",
        )],
        request: r#"{"operation": "restart_service", "service": "http_workers"}"#,
        answer: r#"{"message": "Restarting http_workers", "job_id": "…"}"#,
        errors: &[(400, "`Invalid service`")],
        ..EMPTY
    },
    Entry {
        group: COMPONENTS,
        name: "add_component",
        text: "Makes a component with a configuration and an empty schema.",
        parameters: &[("project", "required: letters, digits, `-`, `_`")],
        request: r#"{"operation": "add_component", "project": "shop"}"#,
        answer: r#"{"message": "Successfully added project: shop"}"#,
        errors: &[(400, "`Project 'shop' already exists`")],
        ..EMPTY
    },
    Entry {
        group: COMPONENTS,
        name: "set_component_file",
        text: "Writes a file of a component, or makes a directory if there is no payload.",
        parameters: &[
            ("project", "required"),
            ("file", "required, a path within the component"),
            ("payload", "the content"),
            ("encoding", "`utf8` (default) or `base64`"),
        ],
        request: r#"{"operation": "set_component_file", "project": "shop", "file": "web/index.html", "payload": "<p>"}"#,
        answer: r#"{"message": "Successfully set component: web/index.html"}"#,
        errors: &[(400, "`Invalid file path`")],
        ..EMPTY
    },
    Entry {
        group: COMPONENTS,
        name: "get_component_file",
        text: "Reads a file of a component.",
        parameters: &[
            ("project", "required"),
            ("file", "required"),
            ("encoding", "`utf8` (default) or `base64`"),
        ],
        request: r#"{"operation": "get_component_file", "project": "shop", "file": "web/index.html"}"#,
        answer: r#"{"message": "<p>", "size": 3, "…": "…"}"#,
        errors: &[(404, "`Component file not found 'shop/f'`")],
        ..EMPTY
    },
    Entry {
        group: COMPONENTS,
        name: "get_components",
        text: "All files of all components as a tree, with the status of each component. Files whose names begin with a dot and `node_modules` are left out.",
        request: r#"{"operation": "get_components"}"#,
        answer: r#"{"name": "…", "entries": ["…"]}"#,
        ..EMPTY
    },
    Entry {
        group: COMPONENTS,
        name: "package_component",
        text: "A component as a compressed tar archive in base64. Symbolic links are left out.",
        parameters: &[
            ("project", "required"),
            ("skip_node_modules", "default false"),
        ],
        request: r#"{"operation": "package_component", "project": "shop"}"#,
        answer: r#"{"project": "shop", "payload": "…"}"#,
        ..EMPTY
    },
    Entry {
        group: COMPONENTS,
        name: "deploy_component",
        text: "Replaces a component by the content of a tar archive, compressed with gzip or not. Links and names that lead elsewhere refuse the whole archive.",
        parameters: &[
            ("project", "required"),
            ("payload", "required, base64 text or bytes"),
            ("restart", "`true` or `\"rolling\"`"),
            (
                "force",
                "also under the name of a section of the configuration",
            ),
        ],
        errors: &[
            (400, "`Either payload or package must be provided`"),
            (413, "larger than the limits"),
            (501, "with `package`: nothing is installed from elsewhere"),
        ],
        ..EMPTY
    },
    Entry {
        group: COMPONENTS,
        name: "drop_component",
        text: "Removes a component, or one of its files.",
        parameters: &[
            ("project", "required"),
            ("file", "only this file or directory"),
            ("restart", "as in deploy_component"),
        ],
        request: r#"{"operation": "drop_component", "project": "shop"}"#,
        answer: r#"{"message": "Successfully dropped: shop"}"#,
        ..EMPTY
    },
    Entry {
        group: BACKUPS,
        name: "get_backup",
        text: "A database as a file, consistent as of the time in the field `Date`.",
        parameters: &[DATABASE],
        request: r#"{"operation": "get_backup"}"#,
        ..EMPTY
    },
    Entry {
        group: BACKUPS,
        name: "create_backup",
        text: "Starts a job that writes a copy of every database; its result has the `backup_id`.",
        request: r#"{"operation": "create_backup"}"#,
        answer: JOB,
        ..EMPTY
    },
    Entry {
        group: BACKUPS,
        name: "list_backups",
        text: "All backups, oldest first.",
        request: r#"{"operation": "list_backups"}"#,
        answer: r#"[{"backup_id": "<backup>", "timestamp": "…", "size": "…", "file_count": "…"}]"#,
        ..EMPTY
    },
    Entry {
        group: BACKUPS,
        name: "verify_backup",
        text: "Starts a job that reads everything in a backup and checks that it fits together.",
        parameters: &[("backup_id", "required")],
        request: r#"{"operation": "verify_backup", "backup_id": "<backup>"}"#,
        answer: JOB,
        errors: &[(404, "`Backup 'x' does not exist`")],
        ..EMPTY
    },
    Entry {
        group: BACKUPS,
        name: "purge_backups",
        text: "Removes all but the newest backups.",
        parameters: &[("keep_count", "required")],
        request: r#"{"operation": "purge_backups", "keep_count": 1}"#,
        answer: r#"{"message": "Successfully deleted 0 backups"}"#,
        ..EMPTY
    },
    Entry {
        group: BACKUPS,
        name: "delete_backup",
        text: "Removes a backup.",
        parameters: &[("backup_id", "required")],
        request: r#"{"operation": "delete_backup", "backup_id": "<backup>"}"#,
        answer: r#"{"message": "Successfully deleted backup: <backup>"}"#,
        ..EMPTY
    },
];

const STRUCTURE_END: &str = "Removing tables and databases";
