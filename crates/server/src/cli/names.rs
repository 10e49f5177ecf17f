//! Names of operations that the command line knows, for help, completions and the nearest to a typing error. Whether
//! a server has an operation is for the server to say.

/// Short names (`config-and-cli.md` §4.2).
const ALIASES: [(&str, &str); 2] = [
    ("deploy", "deploy_component"),
    ("package", "package_component"),
];

/// The operation that a name stands for.
pub(super) fn full_name(name: &str) -> &str {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    alias.map_or(name, |(_, operation)| operation)
}

/// Whether it is the name of an operation.
pub(super) fn is_operation(name: &str) -> bool {
    OPERATIONS.contains(&full_name(name))
}

/// All names, short ones included.
pub(super) fn all<'a>() -> impl Iterator<Item = &'a str> {
    let aliases = ALIASES.iter().map(|(alias, _)| alias);
    OPERATIONS
        .iter()
        .chain(aliases)
        .map(|name| -> &'a str { name })
}

const OPERATIONS: [&str; 113] = [
    "add_certificate",
    "add_component",
    "add_custom_function_project",
    "add_node",
    "add_role",
    "add_ssh_key",
    "add_user",
    "alter_role",
    "alter_user",
    "clear_status",
    "cluster_delete_routes",
    "cluster_get_routes",
    "cluster_network",
    "cluster_set_routes",
    "cluster_status",
    "configure_cluster",
    "create_attribute",
    "create_authentication_tokens",
    "create_backup",
    "create_csr",
    "create_database",
    "create_schema",
    "create_table",
    "csv_data_load",
    "csv_file_load",
    "csv_url_load",
    "custom_functions_status",
    "delete",
    "delete_audit_logs_before",
    "delete_backup",
    "delete_files_before",
    "delete_records_before",
    "delete_ssh_key",
    "delete_transaction_logs_before",
    "deploy_component",
    "deploy_custom_function_project",
    "describe_all",
    "describe_database",
    "describe_metric",
    "describe_schema",
    "describe_table",
    "drop_attribute",
    "drop_component",
    "drop_custom_function",
    "drop_custom_function_project",
    "drop_database",
    "drop_role",
    "drop_schema",
    "drop_table",
    "drop_user",
    "export_local",
    "export_to_s3",
    "get_analytics",
    "get_backup",
    "get_component_file",
    "get_components",
    "get_configuration",
    "get_custom_function",
    "get_custom_functions",
    "get_deployment",
    "get_fingerprint",
    "get_job",
    "get_ssh_key",
    "get_ssh_known_hosts",
    "get_status",
    "get_usage_licenses",
    "import_from_s3",
    "insert",
    "install_node_modules",
    "install_usage_license",
    "list_backups",
    "list_certificates",
    "list_deployments",
    "list_metrics",
    "list_roles",
    "list_ssh_keys",
    "list_users",
    "package_component",
    "package_custom_function_project",
    "purge_backups",
    "purge_stream",
    "read_audit_log",
    "read_log",
    "read_transaction_log",
    "refresh_operation_token",
    "registration_info",
    "remove_certificate",
    "remove_node",
    "restart_service",
    "restore_backup",
    "search",
    "search_by_conditions",
    "search_by_hash",
    "search_by_id",
    "search_by_value",
    "search_jobs_by_start_date",
    "set_component_file",
    "set_configuration",
    "set_custom_function",
    "set_license",
    "set_node",
    "set_node_replication",
    "set_ssh_known_hosts",
    "set_status",
    "sign_certificate",
    "sql",
    "system_information",
    "update",
    "update_node",
    "update_ssh_key",
    "upsert",
    "user_info",
    "verify_backup",
];
