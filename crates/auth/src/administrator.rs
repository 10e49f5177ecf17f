//! The first user of a new server (`design.md` §9): no default password, ever.

use std::fmt;

use resource::{Context, Error, Map, Value, Write, WriteKind};

use crate::Directory;
use crate::password;
use crate::users::NewUser;

const SUPER_USER_ROLE: &str = "super_user";

/// Letters and digits that cannot be taken for one another.
const ALPHABET: &[u8; 56] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789";

/// 24 of them carry 139 bits.
const LENGTH: usize = 24;

/// A random password. Show it once; it cannot be recovered from what is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct GeneratedPassword(String);

impl GeneratedPassword {
    fn generate() -> Result<Self, getrandom::Error> {
        // Bytes beyond the last whole multiple of the alphabet are thrown away, or some letters would
        // be more likely than others.
        const USABLE: usize = 256 - 256 % ALPHABET.len();
        let mut text = String::with_capacity(LENGTH);
        while text.len() < LENGTH {
            let bytes: [u8; 32] = password::random()?;
            let usable = bytes.map(usize::from).into_iter();
            let letters = usable
                .filter(|byte| *byte < USABLE)
                .map(|byte| char::from(ALPHABET[byte % ALPHABET.len()]));
            let missing = LENGTH - text.len();
            text.extend(letters.take(missing));
        }
        Ok(Self(text))
    }

    /// The password.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for GeneratedPassword {
    /// Never prints the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GeneratedPassword")
    }
}

impl Directory {
    /// Makes the role `super_user` and a first user of that role, when there is no user at all.
    ///
    /// Without a `password` a random one is made and returned: the server prints it once and writes it to
    /// a file only its owner can read. `None` means that there are users already, or that `password`
    /// was used.
    ///
    /// # Errors
    ///
    /// What the tables answer; 400 for an empty name or password.
    pub async fn ensure_administrator(
        &self,
        username: &str,
        password: Option<&str>,
    ) -> Result<Option<GeneratedPassword>, Error> {
        let changing = self.changing().await;
        self.reload_while(&changing).await?;
        if !self.snapshot().users.is_empty() {
            return Ok(None);
        }
        let context = Context::internal();
        let role = Map::from_iter([
            ("id", Value::from(SUPER_USER_ROLE)),
            ("role", Value::from(SUPER_USER_ROLE)),
            (
                "permission",
                Value::Map(Map::from_iter([("super_user", Value::Bool(true))])),
            ),
        ]);
        let write = Write::new(
            Some(SUPER_USER_ROLE.into()),
            WriteKind::InsertIfAbsent,
            Some(Value::Map(role)),
        );
        let written = self.roles().write(vec![write], &context).await;
        written?;
        self.reload_while(&changing).await?;
        let generated = match password {
            Some(_) => None,
            None => Some(
                GeneratedPassword::generate()
                    .map_err(|error| Error::internal(format!("no random numbers: {error}")))?,
            ),
        };
        let administrator = NewUser {
            username: username.to_owned(),
            password: password
                .or(generated.as_ref().map(GeneratedPassword::as_str))
                .unwrap_or_default()
                .to_owned(),
            role: SUPER_USER_ROLE.to_owned(),
            active: true,
        };
        self.add_user_while(&changing, &administrator, &context)
            .await?;
        Ok(generated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_password_is_long_random_and_not_printed() {
        let password = GeneratedPassword::generate().unwrap();
        assert_eq!(password.as_str().len(), LENGTH);
        assert!(
            password
                .as_str()
                .bytes()
                .all(|byte| ALPHABET.contains(&byte))
        );
        assert_ne!(password, GeneratedPassword::generate().unwrap());
        assert_eq!(format!("{password:?}"), "GeneratedPassword");
    }
}
