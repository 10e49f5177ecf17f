//! Operations that the specification names and this version does not have.

use crate::{Failure, Need, Operation};

/// Those that are for everybody.
const OPEN: [&str; 4] = [
    "create_authentication_tokens",
    "login",
    "logout",
    "refresh_operation_token",
];

/// Those that need a login.
const FOR_USERS: [&str; 13] = [
    "create_attribute",
    "csv_data_load",
    "csv_file_load",
    "csv_url_load",
    "describe_metric",
    "get_analytics",
    "get_job",
    "import_from_s3",
    "list_metrics",
    "registration_info",
    "search",
    "sql",
    "user_info",
];

/// Those that need a super user, with the name that denials show.
const FOR_SUPER_USERS: [(&str, &str); 94] = [
    ("add_certificate", "add_certificate"),
    ("add_component", "addComponent"),
    ("add_custom_function_project", "addCustomFunctionProject"),
    ("add_node", "add_node"),
    ("add_role", "addRole"),
    ("add_ssh_key", "add_ssh_key"),
    ("add_user", "addUser"),
    ("add_waf_rule", "add_waf_rule"),
    ("alter_role", "alterRole"),
    ("alter_user", "alterUser"),
    ("alter_waf_rule", "alter_waf_rule"),
    ("cleanup_orphan_blobs", "cleanupOrphanBlobs"),
    ("clear_status", "clearStatus"),
    ("cluster_delete_routes", "cluster_delete_routes"),
    ("cluster_get_routes", "cluster_get_routes"),
    ("cluster_network", "cluster_network"),
    ("cluster_set_routes", "cluster_set_routes"),
    ("cluster_status", "cluster_status"),
    ("configure_cluster", "configure_cluster"),
    ("create_backup", "create_backup"),
    ("create_csr", "create_csr"),
    ("custom_functions_status", "customFunctionsStatus"),
    ("delete_audit_logs_before", "deleteAuditLogsBefore"),
    ("delete_backup", "delete_backup"),
    ("delete_deployment_payload", "delete_deployment_payload"),
    ("delete_files_before", "deleteFilesBefore"),
    ("delete_records_before", "deleteFilesBefore"),
    ("delete_secret", "delete_secret"),
    ("delete_ssh_key", "delete_ssh_key"),
    (
        "delete_transaction_logs_before",
        "deleteTransactionLogsBefore",
    ),
    ("deploy_component", "deployComponent"),
    (
        "deploy_custom_function_project",
        "deployCustomFunctionProject",
    ),
    ("drop_attribute", "dropAttribute"),
    ("drop_component", "dropComponent"),
    ("drop_custom_function", "dropCustomFunction"),
    ("drop_custom_function_project", "dropCustomFunctionProject"),
    ("drop_role", "dropRole"),
    ("drop_user", "dropUser"),
    ("drop_waf_rule", "drop_waf_rule"),
    ("export_local", "export_local"),
    ("export_to_s3", "export_to_s3"),
    ("get_backup", "getBackup"),
    ("get_component_file", "getComponentFile"),
    ("get_components", "getComponents"),
    ("get_configuration", "getConfiguration"),
    ("get_custom_function", "getCustomFunction"),
    ("get_custom_functions", "getCustomFunctions"),
    ("get_deployment", "get_deployment"),
    ("get_deployment_payload", "get_deployment_payload"),
    ("get_fingerprint", "get_fingerprint"),
    ("get_secrets_public_key", "get_secrets_public_key"),
    ("get_ssh_key", "get_ssh_key"),
    ("get_ssh_known_hosts", "get_ssh_known_hosts"),
    ("get_status", "getStatus"),
    ("get_usage_licenses", "get_usage_licenses"),
    ("grant_secret", "grant_secret"),
    ("install_node_modules", "installModules"),
    ("install_usage_license", "install_usage_license"),
    ("list_backups", "list_backups"),
    ("list_certificates", "list_certificates"),
    ("list_deployments", "list_deployments"),
    ("list_roles", "listRoles"),
    ("list_secrets", "list_secrets"),
    ("list_ssh_keys", "list_ssh_keys"),
    ("list_users", "listUsersExternal"),
    ("list_waf_rules", "list_waf_rules"),
    ("package_component", "packageComponent"),
    (
        "package_custom_function_project",
        "packageCustomFunctionProject",
    ),
    ("purge_backups", "purge_backups"),
    ("purge_stream", "purge_stream"),
    ("read_audit_log", "readAuditLog"),
    ("read_log", "readLog"),
    ("read_transaction_log", "readTransactionLog"),
    ("remove_certificate", "remove_certificate"),
    ("remove_node", "remove_node"),
    ("restart", "restart"),
    ("restart_service", "restartService"),
    ("restore_backup", "restore_backup"),
    ("revoke_secret", "revoke_secret"),
    ("search_jobs_by_start_date", "handleGetJobsByStartDate"),
    ("set_component_file", "setComponentFile"),
    ("set_configuration", "setConfiguration"),
    ("set_custom_function", "setCustomFunction"),
    ("set_license", "set_license"),
    ("set_node", "set_node"),
    ("set_node_replication", "set_node_replication"),
    ("set_secret", "set_secret"),
    ("set_ssh_known_hosts", "set_ssh_known_hosts"),
    ("set_status", "setStatus"),
    ("set_waf_mode", "set_waf_mode"),
    ("sign_certificate", "sign_certificate"),
    ("update_node", "update_node"),
    ("update_ssh_key", "update_ssh_key"),
    ("verify_backup", "verify_backup"),
];

/// An entry for each; a built operation of the same name, registered later, takes its place.
pub(super) fn operations() -> Vec<Operation> {
    let open = OPEN.iter().map(|name| unavailable(name, Need::Nothing));
    let for_users = FOR_USERS.iter().map(|name| unavailable(name, Need::User));
    let for_super_users = FOR_SUPER_USERS
        .iter()
        .map(|(name, shown)| unavailable(name, Need::SuperUser).shown_as(shown));
    open.chain(for_users).chain(for_super_users).collect()
}

fn unavailable(name: &'static str, need: Need) -> Operation {
    Operation::new(name, need, move |_| async move { Err(not_available(name)) })
}

/// The answer of an operation that is not there.
pub(super) fn not_available(name: &str) -> Failure {
    Failure::new(
        501,
        format!("Operation '{name}' is not available in this build"),
    )
}
