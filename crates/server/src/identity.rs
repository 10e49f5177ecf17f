//! Users, roles, tokens and sessions: the tables behind them, the keys of tokens, the first administrator.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use auth::{
    AuthConfig, Directory, FailureLimits, HashFunction, SessionConfig, TokenConfig, TokenKeys,
};
use store::Store;

use crate::certificates::owner_only;
use crate::config::{self, Config, file};
use crate::root;

/// Private key of tokens, PKCS #8, and its public half.
const PRIVATE_KEY: &str = ".jwtPrivate.key";
const PUBLIC_KEY: &str = ".jwtPublic.key";

/// Opens the tables and reads all users and roles. The first start makes an administrator and tells its password.
///
/// # Errors
///
/// If a table cannot be made or read, or the system refuses threads or random numbers.
pub async fn open(store: &Arc<Store>, config: &Config) -> anyhow::Result<Arc<Directory>> {
    let identity = &config.authentication;
    let mut tables = vec![auth::tables::user_table(), auth::tables::role_table()];
    if identity.sessions {
        tables.push(auth::tables::session_table(identity.cookie_expires));
    }
    let mut tables = store.ensure(tables).await?.into_iter();
    let users = tables.next().context("the table of users")?;
    let roles = tables.next().context("the table of roles")?;
    let auth_config = AuthConfig {
        cache_ttl: identity.cache_ttl,
        hash_function: match identity.hash_function {
            file::HashFunction::Sha256 => HashFunction::Sha256,
            file::HashFunction::Argon2id => HashFunction::Argon2id,
        },
        tokens: tokens(identity, &config.root),
        sessions: tables.next().map(|table| SessionConfig {
            table,
            lifetime: identity.cookie_expires,
        }),
        failures: FailureLimits {
            per_user: identity.failures.per_user,
            per_address: identity.failures.per_address,
            window: identity.failures.window,
            ..FailureLimits::default()
        },
        ..AuthConfig::default()
    };
    let directory = Directory::load(users, roles, auth_config).await?;
    first_administrator(&directory, config).await?;
    Ok(directory)
}

async fn first_administrator(directory: &Directory, config: &Config) -> anyhow::Result<()> {
    let administrator = &config.administrator;
    let (name, password) = (&administrator.username, administrator.password.as_deref());
    let generated = directory.ensure_administrator(name, password).await?;
    if let Some(password) = generated {
        let path = root::keep_password(&config.root, name, password.as_str())?;
        println!(
            "First start: the administrator is '{name}' with password {}",
            password.as_str()
        );
        println!(
            "  (kept in {}, readable by its owner alone)",
            path.display()
        );
    }
    Ok(())
}

fn tokens(identity: &config::Authentication, root: &Path) -> TokenConfig {
    let directory = root.join("keys");
    TokenConfig {
        operation_lifetime: identity.operation_token,
        refresh_lifetime: identity.refresh_token,
        keys: Some(Arc::new(move || token_keys(&directory))),
    }
}

/// Reads the key of tokens, or makes it at its first use.
fn token_keys(directory: &Path) -> io::Result<TokenKeys> {
    let path = directory.join(PRIVATE_KEY);
    let named =
        |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", path.display()));
    let private = match fs::read_to_string(&path) {
        Ok(private) => private,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let fresh = TokenKeys::generate().map_err(|error| named(&error))?;
            fs::create_dir_all(directory)?;
            owner_only(&path, fresh.private.as_bytes()).map_err(|error| named(&error))?;
            fs::write(directory.join(PUBLIC_KEY), fresh.public)?;
            tracing::info!("made the keys of tokens in {}", directory.display());
            fresh.private
        }
        Err(error) => return Err(named(&error)),
    };
    TokenKeys::from_pem(&private).map_err(|error| named(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_tokens_are_made_once_and_an_unusable_one_is_named() {
        let directory = tempfile::tempdir().unwrap();
        token_keys(directory.path()).unwrap();
        let path = directory.path().join(PRIVATE_KEY);
        let first = fs::read(&path).unwrap();
        token_keys(directory.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
        fs::write(&path, "no key").unwrap();
        let error = token_keys(directory.path()).err().unwrap().to_string();
        assert!(error.contains(PRIVATE_KEY), "{error}");
    }
}
