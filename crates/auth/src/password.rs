//! Stored passwords: the form new ones get, and the older forms that are still recognised (`auth.md` §8).
//!
//! | Form | Recognised by |
//! |---|---|
//! | argon2id | a PHC string, alone or after 16 salt characters |
//! | SHA-256 | 16 salt characters, then 64 hexadecimal digits of the digest of password and salt |
//! | MD5 | 9 salt characters, then 32 hexadecimal digits of the digest of password and salt |

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use md5::Md5;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

/// The longest password, in bytes. MQTT could carry 65,535; nothing a person or a key generator makes
/// comes near.
pub(crate) const MAX_PASSWORD_BYTES: usize = 16 * 1024;

/// OWASP's second recommendation for argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Bounds on the parameters of hashes made elsewhere: a stored form must not exhaust the memory.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 16;

const ARGON2ID_PREFIX: &str = "$argon2id$";
const LONG_SALT: usize = 16;
const MD5_SALT: usize = 9;

/// How a new password is stored (`authentication.hashFunction`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HashFunction {
    /// argon2id with 19 MiB, two passes, one lane. The default.
    #[default]
    Argon2id,
    /// Salted SHA-256, for databases that older programs must read. A check costs as much as with
    /// argon2id all the same, since it must not tell which users exist.
    Sha256,
}

impl HashFunction {
    /// The name in configuration files and user records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Argon2id => "argon2id",
            Self::Sha256 => "sha256",
        }
    }

    /// The function of that name.
    ///
    /// ```
    /// use auth::HashFunction;
    /// assert_eq!(HashFunction::from_name("argon2id"), Some(HashFunction::Argon2id));
    /// assert_eq!(HashFunction::from_name("md5"), None); // recognised in old records, never written
    /// ```
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "argon2id" => Some(Self::Argon2id),
            "sha256" => Some(Self::Sha256),
            _ => None,
        }
    }
}

/// Why a password could not be hashed; never the password's fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HashError {
    #[error("the system has no random numbers")]
    Random(#[from] getrandom::Error),
    #[error("argon2id failed: {0}")]
    Argon2(argon2::password_hash::Error),
}

/// The result of one check.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) matches: bool,
    /// The password in the form that new passwords get, if the stored form is weaker.
    pub(crate) upgrade: Option<String>,
}

/// The stored form of a new password.
pub(crate) fn hash(password: &[u8], function: HashFunction) -> Result<String, HashError> {
    match function {
        HashFunction::Argon2id => hash_argon2id(password),
        HashFunction::Sha256 => {
            let salt = hex(&random::<{ LONG_SALT / 2 }>()?);
            let digest = salted::<Sha256>(password, &salt);
            Ok(salt + &hex(&digest))
        }
    }
}

/// Checks `password` against a stored form, at a cost that does not depend on the form: the older ones
/// are cheap to compute, so the argon2id hash that would replace them is computed as well.
pub(crate) fn check(password: &[u8], stored: &str, function: HashFunction) -> Verdict {
    match StoredForm::parse(stored) {
        StoredForm::Argon2id { salt, phc } => Verdict {
            matches: matches_argon2id(password, salt, &phc),
            upgrade: None,
        },
        legacy => {
            let matches = legacy.matches(password);
            let replacement = hash_argon2id(password).ok();
            Verdict {
                matches,
                upgrade: replacement.filter(|_| matches && function == HashFunction::Argon2id),
            }
        }
    }
}

/// A stored form that no password matches, but which costs as much as one that could.
pub(crate) fn unmatchable() -> Result<String, HashError> {
    let salt = SaltString::encode_b64(&random::<16>()?).map_err(HashError::Argon2)?;
    let output = argon2::password_hash::Output::new(&random::<32>()?).map_err(HashError::Argon2)?;
    Ok(format!(
        "{ARGON2ID_PREFIX}v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${output}"
    ))
}

enum StoredForm<'a> {
    Argon2id {
        salt: &'a str,
        phc: Box<PasswordHash<'a>>,
    },
    Sha256 {
        salt: &'a str,
        digest: Vec<u8>,
    },
    Md5 {
        salt: &'a str,
        digest: Vec<u8>,
    },
    Unknown,
}

impl<'a> StoredForm<'a> {
    fn parse(stored: &'a str) -> Self {
        for salt_length in [0, LONG_SALT] {
            if let Some((salt, phc)) = stored.split_at_checked(salt_length)
                && phc.starts_with(ARGON2ID_PREFIX)
            {
                return match PasswordHash::new(phc) {
                    Ok(phc) if is_affordable(&phc) => Self::Argon2id {
                        salt,
                        phc: Box::new(phc),
                    },
                    _ => Self::Unknown,
                };
            }
        }
        if let Some((salt, digest)) = Self::split_hex(stored, LONG_SALT, 32) {
            Self::Sha256 { salt, digest }
        } else if let Some((salt, digest)) = Self::split_hex(stored, MD5_SALT, 16) {
            Self::Md5 { salt, digest }
        } else {
            Self::Unknown
        }
    }

    fn split_hex(stored: &str, salt: usize, digest: usize) -> Option<(&str, Vec<u8>)> {
        let (salt, text) = stored.split_at_checked(salt)?;
        let digest = (text.len() == 2 * digest).then(|| unhex(text))??;
        Some((salt, digest))
    }

    fn matches(&self, password: &[u8]) -> bool {
        match self {
            Self::Sha256 { salt, digest } => salted::<Sha256>(password, salt).ct_eq(digest).into(),
            Self::Md5 { salt, digest } => salted::<Md5>(password, salt).ct_eq(digest).into(),
            Self::Argon2id { salt, phc } => matches_argon2id(password, salt, phc),
            Self::Unknown => false,
        }
    }
}

/// Our own form has no text before the PHC string; the other program's has a salt there, which it may or
/// may not have joined to the password.
fn matches_argon2id(password: &[u8], salt: &str, phc: &PasswordHash<'_>) -> bool {
    let verify = |password: &[u8]| Argon2::default().verify_password(password, phc).is_ok();
    match salt {
        "" => verify(password),
        salt => verify(&[password, salt.as_bytes()].concat()) || verify(password),
    }
}

fn is_affordable(phc: &PasswordHash<'_>) -> bool {
    Params::try_from(phc).is_ok_and(|params| {
        params.m_cost() <= MAX_MEMORY_KIB
            && params.t_cost() <= MAX_PASSES
            && params.p_cost() <= MAX_LANES
    })
}

fn hash_argon2id(password: &[u8]) -> Result<String, HashError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .map_err(|error| HashError::Argon2(error.into()))?;
    let salt = SaltString::encode_b64(&random::<16>()?).map_err(HashError::Argon2)?;
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = hasher
        .hash_password(password, &salt)
        .map_err(HashError::Argon2)?;
    Ok(hash.to_string())
}

fn salted<D: Digest>(password: &[u8], salt: &str) -> Vec<u8> {
    D::new()
        .chain_update(password)
        .chain_update(salt)
        .finalize()
        .to_vec()
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(stored: &str, password: &str) -> bool {
        check(password.as_bytes(), stored, HashFunction::Argon2id).matches
    }

    #[test]
    fn a_new_password_matches_itself_and_nothing_else() {
        for function in [HashFunction::Argon2id, HashFunction::Sha256] {
            let stored = hash(b"s3cret", function).unwrap();
            assert!(accepts(&stored, "s3cret"), "{stored}");
            assert!(!accepts(&stored, "s3cre"), "{stored}");
            assert_ne!(
                stored,
                hash(b"s3cret", function).unwrap(),
                "the salt is random"
            );
        }
    }

    #[test]
    fn argon2id_has_the_parameters_of_the_specification() {
        let stored = hash(b"x", HashFunction::Argon2id).unwrap();
        assert!(
            stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{stored}"
        );
    }

    #[test]
    fn s8_older_forms_are_recognised_and_replaced() {
        // By coreutils: printf %s passwordabcdefghijklmnop | sha256sum, passwordabcdefghi | md5sum.
        let sha256 = "abcdefghijklmnop\
                      b4d938bc6537806eed0be3d92d85b3d2c85fc7fbb59c883c76ba1063c5411e7b";
        let md5 = "abcdefghi0cb6322c6db3d178513fa67aef643039";
        for stored in [sha256, md5] {
            let verdict = check(b"password", stored, HashFunction::Argon2id);
            assert!(verdict.matches);
            assert!(accepts(&verdict.upgrade.unwrap(), "password"));
            assert_eq!(
                check(b"wrong", stored, HashFunction::Argon2id).upgrade,
                None
            );
            assert_eq!(
                check(b"password", stored, HashFunction::Sha256).upgrade,
                None
            );
        }
    }

    #[test]
    fn s8_a_salt_before_the_phc_string_is_accepted() {
        let alone = hash(b"pw", HashFunction::Argon2id).unwrap();
        let joined = hash(b"pwabcdefghijklmnop", HashFunction::Argon2id).unwrap();
        for phc in [alone, joined] {
            assert!(accepts(&format!("abcdefghijklmnop{phc}"), "pw"));
        }
    }

    #[test]
    fn nothing_matches_an_unknown_or_excessive_form() {
        let dear = "$argon2id$v=19$m=4194304,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA";
        for stored in ["", "plain", "ééééééééé", dear, &unmatchable().unwrap()] {
            assert!(!accepts(stored, stored), "{stored}");
            assert!(!accepts(stored, ""), "{stored}");
        }
    }
}
