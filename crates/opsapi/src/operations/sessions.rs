//! Tokens and sessions (`operations-api.md` §11, `auth.md` §4.2 and §6.3).

use std::sync::Arc;
use std::time::Duration;

use auth::{Directory, TokenRequest};
use base::units::parse_duration;
use resource::{ErrorKind, Map, User, Value};

use crate::parameters::{Check, Parameter};
use crate::{Call, Failure, Need, Operation, Reply};

const USERNAME: Parameter = Parameter::plain("username");
const PASSWORD: Parameter = Parameter::plain("password");
const ROLE: Parameter = Parameter::plain("role");
const EXPIRES_IN: Parameter = Parameter::plain("expires_in");
const REFRESH_TOKEN: Parameter = Parameter::plain("refresh_token");
const ALL: Parameter = Parameter::plain("all");

type Users = Arc<Directory>;

pub(super) fn operations(directory: &Users) -> Vec<Operation> {
    let open = Need::Nothing;
    vec![
        Operation::on(
            directory,
            "create_authentication_tokens",
            open,
            create_tokens,
        ),
        Operation::on(directory, "refresh_operation_token", open, refresh_token),
        Operation::new("login", open, login),
        Operation::on(directory, "logout", open, logout),
    ]
}

async fn create_tokens(users: Users, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let username = given_text(&mut check, &call, USERNAME);
    let password = given_text(&mut check, &call, PASSWORD);
    let request = TokenRequest {
        role: check.text(ROLE).map(str::to_owned),
        expires_in: expires_in(&mut check, &call),
    };
    check.finish()?;
    let user = match (username, password) {
        (Some(username), Some(password)) => {
            let checked = users.check_password_of(username, password.as_bytes(), call.peer);
            let caller = checked.await.map_err(|error| match error.kind() {
                ErrorKind::Unauthorized => Failure::new(401, "invalid credentials"),
                _ => error.into(),
            })?;
            caller.user().cloned()
        }
        (None, None) => call.context.caller.user().cloned(),
        _ => return Err(Failure::new(401, "invalid credentials")),
    };
    let user: Arc<User> = user.ok_or_else(crate::operation::must_login)?;
    let pair = users.create_tokens(&user, &request, &call.context).await?;
    Ok(Reply::value(Map::from_iter([
        ("operation_token", Value::from(pair.operation_token)),
        ("refresh_token", Value::from(pair.refresh_token)),
    ])))
}

async fn refresh_token(users: Users, call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let in_body = check.text(REFRESH_TOKEN);
    check.finish()?;
    let as_bearer = call.refresh_token.as_ref().map(|token| token.0.as_str());
    let token = in_body
        .or(as_bearer)
        .ok_or_else(|| Failure::new(400, "'refresh_token' is required"))?;
    let fresh = users.refresh_operation_token(token).await?;
    Ok(Reply::value(Map::from_iter([(
        "operation_token",
        Value::from(fresh),
    )])))
}

async fn login(call: Call) -> Result<Reply, Failure> {
    let mut check = Check::new(&call.parameters);
    let username = check.required_text(USERNAME);
    let password = check.required_text(PASSWORD);
    let (username, password) = check.finish_with(username.zip(password))?;
    let session = call.session.as_ref();
    let session = session.ok_or_else(|| Failure::new(400, "No session for login"))?;
    session.login(username, password.as_bytes()).await?;
    Ok(Reply::message("Login successful"))
}

/// With `all`, the tokens of the user end as well.
async fn logout(users: Users, call: Call) -> Result<Reply, Failure> {
    let session = call.session.as_ref();
    let session = session.ok_or_else(|| Failure::new(400, "No session for logout"))?;
    session.logout().await?;
    if ALL.of(&call.parameters) == Some(&Value::Bool(true))
        && let Some(username) = call.context.caller.username()
    {
        users.revoke_tokens(username, &call.context).await?;
    }
    Ok(Reply::message("Logout successful"))
}

/// A text that may be absent, but not empty.
fn given_text<'a>(check: &mut Check<'_>, call: &'a Call, parameter: Parameter) -> Option<&'a str> {
    match parameter.of(&call.parameters)? {
        Value::String(text) if text.is_empty() => {
            check.violation(parameter, "is not allowed to be empty");
            None
        }
        Value::String(text) => Some(text),
        _ => {
            check.violation(parameter, "must be a string");
            None
        }
    }
}

/// Seconds, or a text such as `10m`.
fn expires_in(check: &mut Check<'_>, call: &Call) -> Option<Duration> {
    let text = match EXPIRES_IN.of(&call.parameters)? {
        Value::Int(seconds) => seconds.to_string(),
        Value::String(text) => text.clone(),
        _ => String::new(),
    };
    let parsed = parse_duration(&text, Duration::from_secs(1)).ok();
    let parsed = parsed.filter(|duration| !duration.is_zero());
    if parsed.is_none() {
        check.violation(
            EXPIRES_IN,
            "must be a number of seconds or a duration such as 10m",
        );
    }
    parsed
}
