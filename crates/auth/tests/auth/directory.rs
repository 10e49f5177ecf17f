//! The directory on tables in memory: credentials, changes, the first start.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use crate::memory::{MemoryTable, put};
use auth::{AuthConfig, Directory, NewRole, NewUser, RoleChange, RoleError, UserChange};
use base::WorkerId;
use resource::{
    Action, Authenticator, Caller, Context, Credentials, Error, Hub, Map, Value, WriteKind, json,
};

struct Fixture {
    hub: Hub,
    users: Arc<MemoryTable>,
    directory: Arc<Directory>,
}

const ADMIN: &str = "admin";

/// A directory with the super user `admin`, password `root`.
async fn fixture() -> Fixture {
    let hub = Hub::new(1);
    let users = MemoryTable::new("hdb_user", &hub);
    let roles = MemoryTable::new("hdb_role", &hub);
    let directory = Directory::load(users.clone(), roles, AuthConfig::default())
        .await
        .unwrap();
    let generated = directory.ensure_administrator(ADMIN, Some("root")).await;
    assert_eq!(generated.unwrap(), None);
    Fixture {
        hub,
        users,
        directory,
    }
}

fn value(text: &str) -> Value {
    json::from_slice(text.as_bytes()).unwrap()
}

fn password(username: &str, password: &str) -> Credentials {
    Credentials::Password {
        username: username.to_owned(),
        password: password.as_bytes().to_vec(),
    }
}

impl Fixture {
    async fn add(&self, username: &str, role: &str) {
        let user = NewUser {
            username: username.to_owned(),
            password: "pw".to_owned(),
            role: role.to_owned(),
            active: true,
        };
        self.directory
            .add_user(&user, &Context::internal())
            .await
            .unwrap();
    }

    async fn add_role(&self, role: &str, permission: &str) -> Result<Map, RoleError> {
        let role = NewRole {
            id: None,
            role: role.to_owned(),
            permission: value(permission),
            access: None,
        };
        self.directory
            .add_role(&role, None, &Context::internal())
            .await
    }

    async fn alter(&self, username: &str, change: UserChange) -> Result<(), Error> {
        let context = Context::internal();
        let altered = self.directory.alter_user(username, &change, &context).await;
        altered.map(|_| ())
    }

    async fn login(&self, credentials: Credentials) -> Result<Caller, Error> {
        self.directory.authenticate(&credentials).await
    }

    /// Status and text, or 200 and the user name.
    async fn check(&self, credentials: Credentials, status: u16, text: &str) {
        match self.login(credentials).await {
            Ok(caller) => assert_eq!((200, &**caller.username().unwrap()), (status, text)),
            Err(error) => assert_eq!((error.status(), error.message()), (status, text)),
        }
    }
}

fn refused<T>(result: Result<T, Error>, status: u16, text: &str) {
    let error = result.err().expect("refused");
    assert_eq!((error.status(), error.message()), (status, text));
}

#[tokio::test]
async fn a1_the_same_text_for_a_wrong_password_and_an_unknown_user() {
    let fixture = fixture().await;
    fixture.check(password(ADMIN, "root"), 200, ADMIN).await;
    fixture
        .check(password(ADMIN, "Root"), 401, "Login failed")
        .await;
    fixture
        .check(password(ADMIN, ""), 401, "Login failed")
        .await;
    fixture
        .check(password("nobody", "root"), 401, "Login failed")
        .await;
    fixture
        .check(password("ADMIN", "root"), 401, "Login failed")
        .await;
}

#[tokio::test]
async fn a2_long_names_and_passwords_fail_like_others() {
    let fixture = fixture().await;
    for length in [10_000, 100_000] {
        let long = "x".repeat(length);
        fixture
            .check(password(&long, &long), 401, "Login failed")
            .await;
        fixture
            .check(password(ADMIN, &long), 401, "Login failed")
            .await;
    }
}

#[tokio::test]
async fn s1_a_verified_password_is_answered_at_once_until_it_changes() {
    let fixture = fixture().await;
    fixture.check(password(ADMIN, "root"), 200, ADMIN).await;
    let credentials = password(ADMIN, "root");
    let mut again = fixture.directory.authenticate(&credentials);
    assert!(
        matches!(futures_util::poll!(&mut again), Poll::Ready(Ok(_))),
        "answered without waiting for a hashing thread"
    );
    let change = UserChange {
        password: Some("new".into()),
        ..UserChange::default()
    };
    fixture.alter(ADMIN, change).await.unwrap();
    fixture
        .check(password(ADMIN, "root"), 401, "Login failed")
        .await;
    fixture.check(password(ADMIN, "new"), 200, ADMIN).await;
}

#[tokio::test]
async fn a7_a_deactivated_user_is_refused_everywhere_at_once() {
    let fixture = fixture().await;
    fixture.add("ana", "super_user").await;
    let caller = fixture.login(password("ana", "pw")).await.unwrap();
    assert!(fixture.directory.refresh(&caller).is_some());
    let change = UserChange {
        active: Some(false),
        ..UserChange::default()
    };
    fixture.alter("ana", change).await.unwrap();
    let text = "Cannot complete request: User is inactive";
    fixture.check(password("ana", "pw"), 401, text).await;
    fixture
        .check(password("ana", "wrong"), 401, "Login failed")
        .await;
    let certificate = Credentials::Certificate {
        common_name: "ana".into(),
    };
    fixture.check(certificate, 401, text).await;
    assert!(fixture.directory.refresh(&caller).is_none());
    assert!(fixture.directory.refresh(&Caller::Anonymous).is_some());
}

#[tokio::test]
async fn s5_a_certificate_names_its_user_exactly() {
    let fixture = fixture().await;
    let certificate = |name: &str| Credentials::Certificate {
        common_name: name.into(),
    };
    fixture.check(certificate(ADMIN), 200, ADMIN).await;
    fixture
        .check(certificate("Admin"), 401, "Login failed")
        .await;
}

#[tokio::test]
async fn s7_local_trust_is_the_first_active_super_user() {
    let fixture = fixture().await;
    fixture.check(Credentials::LocalTrust, 200, ADMIN).await;
    fixture.add("aaron", "super_user").await;
    fixture.check(Credentials::LocalTrust, 200, "aaron").await;
    let change = UserChange {
        active: Some(false),
        ..UserChange::default()
    };
    fixture.alter("aaron", change).await.unwrap();
    fixture.check(Credentials::LocalTrust, 200, ADMIN).await;
}

#[tokio::test]
async fn tokens_are_not_built_and_say_what_an_invalid_token_says() {
    let fixture = fixture().await;
    fixture
        .check(Credentials::Bearer("x".into()), 401, "invalid token")
        .await;
}

#[tokio::test]
async fn a_user_without_valid_role_is_told_so() {
    let fixture = fixture().await;
    fixture.add("ana", "super_user").await;
    put(
        &fixture.users,
        WriteKind::UpdateIfPresent,
        "ana",
        &[("role", "gone".into())],
    )
    .await;
    fixture.directory.reload().await.unwrap();
    let text = "User ana has no role or permissions.  Please assign the user a valid role.";
    fixture.check(password("ana", "pw"), 403, text).await;
}

#[tokio::test]
async fn a_change_by_others_takes_effect_through_the_subscription() {
    let fixture = fixture().await;
    let directory = fixture.directory.clone();
    let caller = fixture.login(password(ADMIN, "root")).await.unwrap();
    let changes = async {
        // The first poll subscribes; what is written after that must arrive.
        tokio::task::yield_now().await;
        put(
            &fixture.users,
            WriteKind::UpdateIfPresent,
            ADMIN,
            &[("active", false.into())],
        )
        .await;
        while directory.refresh(&caller).is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        ended = fixture.directory.run() => panic!("{ended:?}"),
        () = fixture.hub.dispatch(WorkerId(0)) => {}
        () = changes => {}
    }
}

#[tokio::test]
async fn a7_every_change_is_announced_to_whoever_waits_for_it() {
    let fixture = fixture().await;
    let mut waiting = [fixture.directory.changes(), fixture.directory.changes()];
    for changes in &mut waiting {
        // What happened before the first wait counts as a change.
        changes.next().await;
        let nothing_new = futures_util::poll!(std::pin::pin!(changes.next()));
        assert_eq!(nothing_new, Poll::Pending);
    }
    fixture.add("mira", "super_user").await;
    for changes in &mut waiting {
        changes.next().await;
    }
    let caller = fixture.login(password("mira", "pw")).await.unwrap();
    let inactive = UserChange {
        active: Some(false),
        ..UserChange::default()
    };
    let (altered, ()) = tokio::join!(fixture.alter("mira", inactive), waiting[0].next());
    altered.unwrap();
    assert!(fixture.directory.refresh(&caller).is_none());
    waiting[1].next().await;
}

#[tokio::test]
async fn the_last_snapshot_stays_in_use_while_the_tables_cannot_be_read() {
    let fixture = fixture().await;
    fixture.users.fails.store(true, Ordering::SeqCst);
    assert_eq!(fixture.directory.reload().await.unwrap_err().status(), 500);
    fixture.check(password(ADMIN, "root"), 200, ADMIN).await;
}

#[tokio::test]
async fn s8_an_old_password_is_stored_in_a_stronger_form_at_login() {
    let fixture = fixture().await;
    // printf %s passwordabcdefghi | md5sum
    let md5 = "abcdefghi0cb6322c6db3d178513fa67aef643039";
    let members = [
        ("username", "old".into()),
        ("password", md5.into()),
        ("role", "super_user".into()),
        ("active", true.into()),
    ];
    put(&fixture.users, WriteKind::InsertIfAbsent, "old", &members).await;
    fixture.directory.reload().await.unwrap();
    fixture
        .check(password("old", "wrong"), 401, "Login failed")
        .await;
    assert_eq!(fixture.users.text("old", "password").unwrap(), md5);
    fixture.check(password("old", "password"), 200, "old").await;
    assert!(
        fixture
            .users
            .text("old", "password")
            .unwrap()
            .starts_with("$argon2id$")
    );
    fixture.directory.reload().await.unwrap();
    fixture.check(password("old", "password"), 200, "old").await;
}

#[tokio::test]
async fn the_first_start_makes_one_administrator_with_a_random_password() {
    let hub = Hub::new(1);
    let users = MemoryTable::new("hdb_user", &hub);
    let roles = MemoryTable::new("hdb_role", &hub);
    let directory = Directory::load(users.clone(), roles, AuthConfig::default())
        .await
        .unwrap();
    let generated = directory
        .ensure_administrator("boss", None)
        .await
        .unwrap()
        .unwrap();
    let credentials = password("boss", generated.as_str());
    let caller = directory.authenticate(&credentials).await.unwrap();
    assert!(caller.is_super_user());
    assert_eq!(
        directory.ensure_administrator("boss", None).await.unwrap(),
        None
    );
    assert_eq!(
        directory
            .ensure_administrator("other", Some("x"))
            .await
            .unwrap(),
        None
    );
    let stored = users.text("boss", "password").unwrap();
    assert!(!stored.contains(generated.as_str()));
}

#[tokio::test]
async fn s8_user_changes_are_checked() {
    let fixture = fixture().await;
    let context = Context::internal();
    let user = |username: &str, password: &str, role: &str| NewUser {
        username: username.into(),
        password: password.into(),
        role: role.into(),
        active: true,
    };
    let directory = &fixture.directory;
    for (new, status, text) in [
        (
            user("", "", "r"),
            400,
            "'username' is not allowed to be empty. 'password' is not allowed to be empty",
        ),
        (user("ana", "pw", "none"), 404, "none role not found"),
        (
            user(ADMIN, "pw", "super_user"),
            409,
            "User admin already exists",
        ),
    ] {
        refused(directory.add_user(&new, &context).await, status, text);
    }
    let nothing = UserChange::default();
    let role = |role: &str| UserChange {
        role: Some(role.into()),
        ..UserChange::default()
    };
    let empty = UserChange {
        password: Some(String::new()),
        ..UserChange::default()
    };
    for (username, change, status, text) in [
        (
            ADMIN,
            nothing,
            400,
            "nothing to update, must supply active, role or password to update",
        ),
        (
            ADMIN,
            role(""),
            400,
            "If role is specified, it cannot be empty.",
        ),
        (
            ADMIN,
            role("x"),
            404,
            "Update failed.  Requested 'x' role not found.",
        ),
        (ADMIN, empty, 400, "password cannot be an empty string"),
        ("who", role("super_user"), 404, "User who does not exist"),
    ] {
        refused(fixture.alter(username, change).await, status, text);
    }
    refused(
        directory.drop_user("who", &context).await,
        404,
        "User who does not exist",
    );
    fixture.add("ana", "super_user").await;
    directory.drop_user("ana", &context).await.unwrap();
    assert_eq!(directory.list_users().len(), 1);
}

#[tokio::test]
async fn s8_the_last_active_super_user_stays() {
    let fixture = fixture().await;
    fixture.add_role("clerk", "{}").await.unwrap();
    let context = Context::internal();
    let text = "User admin is the last active super user";
    refused(
        fixture.directory.drop_user(ADMIN, &context).await,
        409,
        text,
    );
    let deactivate = UserChange {
        active: Some(false),
        ..UserChange::default()
    };
    refused(fixture.alter(ADMIN, deactivate.clone()).await, 409, text);
    let demote = UserChange {
        role: Some("clerk".into()),
        ..UserChange::default()
    };
    refused(fixture.alter(ADMIN, demote).await, 409, text);
    let change = RoleChange {
        permission: Some(value("{}")),
        ..RoleChange::default()
    };
    let altered = fixture
        .directory
        .alter_role("super_user", &change, None, &context)
        .await;
    let Err(RoleError::Refused(error)) = altered else {
        panic!("refused")
    };
    assert_eq!(error.status(), 409);
    fixture.add("ana", "super_user").await;
    fixture.alter(ADMIN, deactivate).await.unwrap();
}

#[tokio::test]
async fn s8_users_are_shown_without_secrets_and_with_their_role() {
    let fixture = fixture().await;
    let info = Value::Map(fixture.directory.user_info(ADMIN).unwrap());
    let text = String::from_utf8(json::to_vec(&info)).unwrap();
    assert_eq!(
        text,
        r#"{"username":"admin","active":true,"role":{"id":"super_user","role":"super_user","permission":{"super_user":true}}}"#
    );
    assert_eq!(fixture.directory.user_info("who"), None);
}

#[tokio::test]
async fn s9_role_changes_take_effect_and_are_checked() {
    let fixture = fixture().await;
    let context = Context::internal();
    let clerk = r#"{"shop": {"tables": {"orders": {
        "read": true, "insert": false, "update": false, "delete": false}}}}"#;
    let role = fixture.add_role("clerk", clerk).await.unwrap();
    assert_eq!(role.get("id"), Some(&Value::from("clerk")));
    fixture.add("ana", "clerk").await;
    let caller = fixture.login(password("ana", "pw")).await.unwrap();
    let reads = |caller: &Caller| {
        let access = caller.user().unwrap().permissions.table("shop", "orders");
        access.allows(Action::Read)
    };
    assert!(reads(&caller));

    let change = RoleChange {
        permission: Some(value("{}")),
        ..RoleChange::default()
    };
    fixture
        .directory
        .alter_role("clerk", &change, None, &context)
        .await
        .unwrap();
    assert!(!reads(&fixture.directory.refresh(&caller).unwrap()));

    let Err(RoleError::Refused(taken)) = fixture.add_role("clerk", "{}").await else {
        panic!()
    };
    assert_eq!(
        (taken.status(), taken.message()),
        (409, "A role with name 'clerk' already exists")
    );
    let Err(RoleError::Permission(errors)) = fixture.add_role("x", r#"{"y": 1}"#).await else {
        panic!()
    };
    assert_eq!(errors.main, ["Invalid key in JSON body - 'y'"]);
    let unknown = fixture
        .directory
        .alter_role("x", &change, None, &context)
        .await;
    let Err(RoleError::Refused(unknown)) = unknown else {
        panic!()
    };
    assert_eq!(
        (unknown.status(), unknown.message()),
        (400, "Invalid role id")
    );

    let directory = &fixture.directory;
    refused(
        directory.drop_role("x", &context).await,
        404,
        "Role not found",
    );
    let in_use = "Cannot drop role clerk as it has active user(s) tied to this role";
    refused(directory.drop_role("clerk", &context).await, 409, in_use);
    directory.drop_user("ana", &context).await.unwrap();
    assert_eq!(
        directory.drop_role("clerk", &context).await.unwrap(),
        "clerk"
    );
    assert_eq!(directory.list_roles().len(), 1);
}
