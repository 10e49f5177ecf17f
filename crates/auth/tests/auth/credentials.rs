//! Tokens, sessions, the limit on failures, impersonation: on tables in memory.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::memory::MemoryTable;
use auth::{
    AuthConfig, Directory, FailureLimits, NewRole, NewTokenKeys, NewUser, SessionConfig,
    TokenConfig, TokenKeys, TokenPair, TokenRequest, UserChange,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use resource::{Authenticator, Caller, Context, Credentials, Error, Hub, Sessions, User, json};

const ADMIN: &str = "admin";
const HERE: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)));
const THERE: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 8)));

/// One pair for all tests: making it takes a while.
fn keys() -> &'static NewTokenKeys {
    static KEYS: OnceLock<NewTokenKeys> = OnceLock::new();
    KEYS.get_or_init(|| TokenKeys::generate().unwrap())
}

fn config(hub: &Hub) -> AuthConfig {
    let load = || TokenKeys::from_pem(&keys().private).map_err(std::io::Error::other);
    AuthConfig {
        tokens: TokenConfig {
            keys: Some(Arc::new(load)),
            ..TokenConfig::default()
        },
        sessions: Some(SessionConfig {
            table: MemoryTable::new("hdb_session", hub),
            lifetime: None,
        }),
        ..AuthConfig::default()
    }
}

async fn directory_with(config: impl FnOnce(&Hub) -> AuthConfig) -> Arc<Directory> {
    let hub = Hub::new(1);
    let users = MemoryTable::new("hdb_user", &hub);
    let roles = MemoryTable::new("hdb_role", &hub);
    let directory = Directory::load(users, roles, config(&hub)).await.unwrap();
    directory
        .ensure_administrator(ADMIN, Some("root"))
        .await
        .unwrap();
    let role = NewRole {
        id: None,
        role: "clerk".to_owned(),
        permission: json::from_slice(b"{\"super_user\":false}").unwrap(),
        access: None,
    };
    let context = Context::internal();
    directory.add_role(&role, None, &context).await.unwrap();
    let mira = NewUser {
        username: "mira".to_owned(),
        password: "pw".to_owned(),
        role: "clerk".to_owned(),
        active: true,
    };
    directory.add_user(&mira, &context).await.unwrap();
    directory
}

async fn directory() -> Arc<Directory> {
    directory_with(config).await
}

async fn user(directory: &Directory, username: &str, password: &str) -> Arc<User> {
    let caller = directory.check_password_of(username, password.as_bytes(), None);
    Arc::clone(caller.await.unwrap().user().unwrap())
}

async fn tokens(directory: &Directory, request: TokenRequest) -> TokenPair {
    let mira = user(directory, "mira", "pw").await;
    let context = Context::internal();
    directory
        .create_tokens(&mira, &request, &context)
        .await
        .unwrap()
}

async fn bearer(directory: &Directory, token: &str) -> Result<Caller, Error> {
    let credentials = Credentials::Bearer(token.to_owned());
    directory.authenticate(&credentials).await
}

fn name(caller: Result<Caller, Error>) -> String {
    caller.unwrap().username().unwrap().to_string()
}

fn refused<T>(result: Result<T, Error>, status: u16, text: &str) {
    let error = result.err().expect("refused");
    assert_eq!((error.status(), error.message()), (status, text));
}

/// The token with its claims changed and the old signature.
fn forged(token: &str, change: impl Fn(String) -> String) -> String {
    let parts: Vec<_> = token.split('.').collect();
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    let claims = URL_SAFE_NO_PAD.encode(change(claims));
    format!("{}.{claims}.{}", parts[0], parts[2])
}

#[tokio::test]
async fn a4_an_operation_token_is_its_user_and_a_refresh_token_is_not() {
    let directory = directory().await;
    let pair = tokens(&directory, TokenRequest::default()).await;
    for _ in 0..2 {
        // The second time it is remembered.
        assert_eq!(
            name(bearer(&directory, &pair.operation_token).await),
            "mira"
        );
    }
    let as_operation = bearer(&directory, &pair.refresh_token).await;
    refused(as_operation, 401, "invalid token");
    let fresh = directory.refresh_operation_token(&pair.refresh_token).await;
    assert_eq!(name(bearer(&directory, &fresh.unwrap()).await), "mira");
    let as_refresh = directory.refresh_operation_token(&pair.operation_token);
    refused(as_refresh.await, 401, "invalid token");
}

#[tokio::test]
async fn a5_an_expired_token_is_told_so() {
    let directory = directory_with(|hub| {
        let mut config = config(hub);
        config.tokens.refresh_lifetime = Duration::ZERO;
        config
    })
    .await;
    // Five seconds of leeway: a token that ended before them.
    let pair = tokens(&directory, TokenRequest::default()).await;
    assert!(
        directory
            .refresh_operation_token(&pair.refresh_token)
            .await
            .is_ok(),
        "within the leeway"
    );
    let long_ago = jsonwebtoken::encode(
        &jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256),
        &serde_json::json!({
            "sub": "operation", "username": "mira", "super_user": false, "iat": 1_000, "exp": 2_000,
        }),
        &jsonwebtoken::EncodingKey::from_rsa_pem(keys().private.as_bytes()).unwrap(),
    );
    refused(
        bearer(&directory, &long_ago.unwrap()).await,
        401,
        "token expired",
    );
}

#[tokio::test]
async fn a6_no_other_algorithm_and_no_altered_payload() {
    let directory = directory().await;
    let token = tokens(&directory, TokenRequest::default())
        .await
        .operation_token;
    let altered = forged(&token, |claims| claims.replace("mira", "admin"));
    refused(bearer(&directory, &altered).await, 401, "invalid token");
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims = token.split('.').nth(1).unwrap();
    let none = format!("{}.{claims}.", part(r#"{"alg":"none","typ":"JWT"}"#));
    refused(bearer(&directory, &none).await, 401, "invalid token");
    let symmetric = jsonwebtoken::encode(
        &jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256),
        &serde_json::json!({
            "sub": "operation", "username": "admin", "super_user": true, "iat": 1, "exp": 9_999_999_999_u64,
        }),
        &jsonwebtoken::EncodingKey::from_secret(keys().public.as_bytes()),
    );
    refused(
        bearer(&directory, &symmetric.unwrap()).await,
        401,
        "invalid token",
    );
    refused(bearer(&directory, "").await, 401, "invalid token");
}

#[tokio::test]
async fn a_token_with_a_role_is_refused_for_ordinary_requests() {
    let directory = directory().await;
    let request = TokenRequest {
        role: Some("kiosk".to_owned()),
        ..TokenRequest::default()
    };
    let pair = tokens(&directory, request).await;
    refused(
        bearer(&directory, &pair.operation_token).await,
        401,
        "invalid token",
    );
}

#[tokio::test]
async fn a7_a_new_password_a_deactivation_and_a_drop_end_the_tokens() {
    let directory = directory().await;
    let context = Context::internal();
    let pair = tokens(&directory, TokenRequest::default()).await;
    let change = UserChange {
        password: Some("new".to_owned()),
        ..UserChange::default()
    };
    directory
        .alter_user("mira", &change, &context)
        .await
        .unwrap();
    refused(
        bearer(&directory, &pair.operation_token).await,
        401,
        "invalid token",
    );
    let refreshed = directory.refresh_operation_token(&pair.refresh_token).await;
    refused(refreshed, 401, "invalid token");
    let mira = user(&directory, "mira", "new").await;
    let request = TokenRequest::default();
    let fresh = directory
        .create_tokens(&mira, &request, &context)
        .await
        .unwrap();
    assert_eq!(
        name(bearer(&directory, &fresh.operation_token).await),
        "mira"
    );
    directory.revoke_tokens("mira", &context).await.unwrap();
    refused(
        bearer(&directory, &fresh.operation_token).await,
        401,
        "invalid token",
    );
    let last = directory
        .create_tokens(&mira, &request, &context)
        .await
        .unwrap();
    directory.drop_user("mira", &context).await.unwrap();
    refused(
        bearer(&directory, &last.operation_token).await,
        401,
        "invalid token",
    );
}

#[tokio::test]
async fn ten_refresh_tokens_live_side_by_side_and_the_eleventh_ends_the_first() {
    let directory = directory().await;
    let mut pairs = Vec::new();
    for _ in 0..11 {
        pairs.push(tokens(&directory, TokenRequest::default()).await);
    }
    let first = directory.refresh_operation_token(&pairs[0].refresh_token);
    refused(first.await, 401, "invalid token");
    for pair in &pairs[1..] {
        let refreshed = directory.refresh_operation_token(&pair.refresh_token).await;
        assert!(refreshed.is_ok());
    }
}

#[tokio::test]
async fn tokens_and_their_hashes_are_not_in_what_others_see() {
    let directory = directory().await;
    tokens(&directory, TokenRequest::default()).await;
    let visible = directory.user_info("mira").unwrap();
    assert!(visible.get("refresh_tokens").is_none() && visible.get("tokens_valid_from").is_none());
}

#[test]
fn an_encrypted_key_is_refused_with_the_command_that_helps() {
    let pem = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let error = TokenKeys::from_pem(pem).err().unwrap().to_string();
    assert!(error.contains("openssl pkcs8"), "{error}");
    assert!(TokenKeys::from_pem("no key").is_err());
}

#[tokio::test]
async fn a8_a_session_is_its_user_until_logout() {
    let directory = directory().await;
    let session = directory.login("mira", b"pw", HERE).await.unwrap();
    let credentials = Credentials::Session(session.id.clone());
    let caller = directory.authenticate(&credentials).await;
    assert_eq!(name(caller), "mira");
    assert!(directory.logout(&session.id).await.unwrap());
    let after = directory.authenticate(&credentials).await.unwrap();
    assert!(matches!(after, Caller::Anonymous));
    assert!(!directory.logout(&session.id).await.unwrap());
}

#[tokio::test]
async fn every_login_has_a_new_session_id() {
    let directory = directory().await;
    let first = directory.login("mira", b"pw", HERE).await.unwrap();
    let second = directory.login("mira", b"pw", HERE).await.unwrap();
    assert_ne!(first.id, second.id);
    refused(
        directory.login("mira", b"no", HERE).await,
        401,
        "Login failed",
    );
}

#[tokio::test]
async fn a_session_of_an_inactive_user_is_nobody_and_stays_so() {
    let directory = directory().await;
    let session = directory.login("mira", b"pw", HERE).await.unwrap();
    let credentials = Credentials::Session(session.id);
    let context = Context::internal();
    for active in [false, true] {
        let change = UserChange {
            active: Some(active),
            ..UserChange::default()
        };
        directory
            .alter_user("mira", &change, &context)
            .await
            .unwrap();
        let caller = directory.authenticate(&credentials).await.unwrap();
        assert!(matches!(caller, Caller::Anonymous), "active: {active}");
    }
}

#[tokio::test]
async fn a_session_ends_after_its_time() {
    let directory = directory_with(|hub| {
        let mut config = config(hub);
        config.sessions.as_mut().unwrap().lifetime = Some(Duration::ZERO);
        config
    })
    .await;
    let session = directory.login("mira", b"pw", HERE).await.unwrap();
    let caller = directory
        .authenticate(&Credentials::Session(session.id))
        .await;
    assert!(matches!(caller.unwrap(), Caller::Anonymous));
}

#[tokio::test]
async fn without_sessions_login_is_400() {
    let directory = directory_with(|_| AuthConfig::default()).await;
    refused(
        directory.login("mira", b"pw", HERE).await,
        400,
        "No session for login",
    );
}

#[tokio::test]
async fn a18_after_ten_failures_it_is_429_from_there_and_right_from_elsewhere() {
    let directory = directory_with(|hub| AuthConfig {
        failures: FailureLimits::default(),
        cache_ttl: Duration::ZERO,
        ..config(hub)
    })
    .await;
    let right = Credentials::Password {
        username: "mira".to_owned(),
        password: b"pw".to_vec(),
    };
    let wrong = Credentials::Password {
        username: "mira".to_owned(),
        password: b"guess".to_vec(),
    };
    for _ in 0..10 {
        let answer = directory.authenticate_from(&wrong, HERE).await;
        refused(answer, 401, "Login failed");
    }
    let text = "Too many failed logins, please try again later";
    refused(directory.authenticate_from(&wrong, HERE).await, 429, text);
    refused(directory.authenticate_from(&right, HERE).await, 429, text);
    refused(directory.login("mira", b"pw", HERE).await, 429, text);
    assert_eq!(
        name(directory.authenticate_from(&right, THERE).await),
        "mira"
    );
}

#[tokio::test]
async fn a17_impersonation_is_for_super_users_and_gives_no_rights_of_one() {
    let directory = directory().await;
    let admin = Caller::User(user(&directory, ADMIN, "root").await);
    let mira = Caller::User(user(&directory, "mira", "pw").await);
    let wanted = |text: &str| json::from_slice(text.as_bytes()).unwrap();
    let as_user = wanted(r#"{"username":"mira"}"#);
    let caller = directory.impersonate(&admin, &as_user, None).unwrap();
    assert_eq!(&**caller.username().unwrap(), "mira");
    let status = |answer: Result<Caller, Error>| answer.err().unwrap().status();
    assert_eq!(status(directory.impersonate(&mira, &as_user, None)), 403);
    let unknown = wanted(r#"{"username":"nobody"}"#);
    assert_eq!(status(directory.impersonate(&admin, &unknown, None)), 404);
    let unknown = wanted(r#"{"role_name":"nothing"}"#);
    assert_eq!(status(directory.impersonate(&admin, &unknown, None)), 404);
    assert_eq!(
        status(directory.impersonate(&admin, &wanted("{}"), None)),
        400
    );
    for all in [
        r#"{"role_name":"super_user"}"#,
        r#"{"role":{"permission":{"super_user":true}}}"#,
    ] {
        let caller = directory.impersonate(&admin, &wanted(all), None).unwrap();
        assert!(!caller.is_super_user(), "{all}");
        assert_eq!(&**caller.username().unwrap(), ADMIN);
    }
}
