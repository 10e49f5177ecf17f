//! JSON Web Tokens (`auth.md` §4): what they say, how they are signed, and who may get one.
//!
//! RS256 alone. The key pair is loaded, or made, when the first token is asked for. An operation token is
//! checked without looking anything up but the user; a refresh token must also be one of the newest of its
//! user, of whom a hash is stored.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::KeyPair as _;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use pem::Pem;
use resource::{Caller, Context, Error, Map, User, Value, WriteKind};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::OnceCell;

use crate::Directory;
use crate::cache::VerifiedCache;
use crate::directory::admit;
use crate::snapshot::Account;

/// Refresh tokens of one user that are valid at one time; a new one replaces the oldest.
const REFRESH_TOKENS: usize = 10;
/// Clocks may differ by this much.
const LEEWAY: Duration = Duration::from_secs(5);
const INVALID: &str = "invalid token";
const EXPIRED: &str = "token expired";

/// Where the key pair comes from: loads it, or makes and keeps it. Runs once, off the workers.
pub type KeySource = Arc<dyn Fn() -> io::Result<TokenKeys> + Send + Sync>;

/// How tokens are made.
#[derive(Clone)]
pub struct TokenConfig {
    /// Life of an operation token (`authentication.operationTokenTimeout`). Default one day.
    pub operation_lifetime: Duration,
    /// Life of a refresh token (`authentication.refreshTokenTimeout`), and the most that a caller can ask for.
    /// Default 30 days.
    pub refresh_lifetime: Duration,
    /// The key pair. Default none: tokens are refused.
    pub keys: Option<KeySource>,
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self {
            operation_lifetime: Duration::from_secs(86_400),
            refresh_lifetime: Duration::from_secs(30 * 86_400),
            keys: None,
        }
    }
}

impl fmt::Debug for TokenConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenConfig")
            .field("operation_lifetime", &self.operation_lifetime)
            .field("refresh_lifetime", &self.refresh_lifetime)
            .field("keys", &self.keys.is_some())
            .finish()
    }
}

/// A text that is no private key for RS256.
#[derive(Debug, thiserror::Error)]
#[error("not an unencrypted RSA private key in PEM (PKCS #8): {0}")]
pub struct KeyError(String);

/// An RSA key pair, ready to sign and to check.
pub struct TokenKeys {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

/// A new key pair as texts in PEM.
pub struct NewTokenKeys {
    /// PKCS #8, unencrypted: for a file that its owner alone can read.
    pub private: String,
    /// `SubjectPublicKeyInfo`, for others that check our tokens.
    pub public: String,
}

impl TokenKeys {
    /// Reads a private key.
    ///
    /// # Errors
    ///
    /// [`KeyError`] for anything but an unencrypted RSA key.
    pub fn from_pem(private: &str) -> Result<Self, KeyError> {
        let wrong = |error: &dyn fmt::Display| KeyError(error.to_string());
        let parsed = pem::parse(private).map_err(|error| wrong(&error))?;
        let pair = match parsed.tag() {
            "PRIVATE KEY" => aws_lc_rs::rsa::KeyPair::from_pkcs8(parsed.contents()),
            "RSA PRIVATE KEY" => aws_lc_rs::rsa::KeyPair::from_der(parsed.contents()),
            "ENCRYPTED PRIVATE KEY" => {
                let text =
                    "it is encrypted; 'openssl pkcs8 -in OLD -out NEW' removes the passphrase";
                return Err(KeyError(text.to_owned()));
            }
            other => return Err(KeyError(format!("it is a {other}"))),
        }
        .map_err(|error| wrong(&error))?;
        let encoding =
            EncodingKey::from_rsa_pem(private.as_bytes()).map_err(|error| wrong(&error))?;
        Ok(Self {
            encoding,
            decoding: DecodingKey::from_rsa_der(pair.public_key().as_ref()),
        })
    }

    /// Makes a pair of 2048 bits. Takes a good part of a second.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if the system has no random numbers.
    pub fn generate() -> Result<NewTokenKeys, KeyError> {
        let wrong = |_| KeyError("it could not be made".to_owned());
        let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).map_err(wrong)?;
        let private: Pkcs8V1Der<'_> = pair.as_der().map_err(wrong)?;
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(wrong)?;
        Ok(NewTokenKeys {
            private: pem::encode(&Pem::new("PRIVATE KEY", private.as_ref())),
            public: pem::encode(&Pem::new("PUBLIC KEY", public.as_ref())),
        })
    }
}

/// What a new operation token shall be.
#[derive(Debug, Clone, Default)]
pub struct TokenRequest {
    /// Copied into the token, which then is refused for ordinary requests.
    pub role: Option<String>,
    /// Life of the operation token; `None` is that of the configuration.
    pub expires_in: Option<Duration>,
}

/// What `create_authentication_tokens` answers.
#[derive(Clone)]
pub struct TokenPair {
    /// For requests.
    pub operation_token: String,
    /// For new operation tokens.
    pub refresh_token: String,
}

impl fmt::Debug for TokenPair {
    /// Never prints a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenPair")
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    username: String,
    super_user: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    iat: u64,
    exp: u64,
    /// Of a refresh token: which of the user's.
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
}

const OPERATION: &str = "operation";
const REFRESH: &str = "refresh";

/// A refresh token as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct StoredToken {
    id: String,
    hash: String,
    expires: u64,
}

impl StoredToken {
    /// The tokens of a user record.
    pub(crate) fn all(value: Option<&Value>) -> Vec<Self> {
        let Some(Value::Array(list)) = value else {
            return Vec::new();
        };
        list.iter().filter_map(Self::of).collect()
    }

    fn of(value: &Value) -> Option<Self> {
        let Value::Map(map) = value else { return None };
        let text = |name| map.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            id: text("id")?,
            hash: text("hash")?,
            expires: u64::try_from(map.get("expires")?.as_i64()?).ok()?,
        })
    }

    fn to_value(&self) -> Value {
        Value::Map(Map::from_iter([
            ("id", Value::from(self.id.as_str())),
            ("hash", Value::from(self.hash.as_str())),
            (
                "expires",
                Value::Int(i64::try_from(self.expires).unwrap_or(i64::MAX)),
            ),
        ]))
    }
}

/// The key pair, once it was asked for, and what was checked lately.
pub(crate) struct Tokens {
    config: TokenConfig,
    keys: OnceCell<TokenKeys>,
    checked: VerifiedCache,
}

impl Tokens {
    pub(crate) fn new(config: TokenConfig, checked: VerifiedCache) -> Self {
        Self {
            config,
            keys: OnceCell::new(),
            checked,
        }
    }

    fn encode(&self, keys: &TokenKeys, claims: &Claims) -> Result<String, Error> {
        jsonwebtoken::encode(&Header::new(Algorithm::RS256), claims, &keys.encoding)
            .map_err(|error| Error::internal(format!("a token could not be signed: {error}")))
    }

    /// Signature, algorithm and expiry. Remembers tokens that were right.
    fn decode(&self, keys: &TokenKeys, token: &str) -> Result<Claims, Error> {
        let now = Instant::now();
        let fingerprint = self.checked.fingerprint("", "token", token.as_bytes());
        let mut validation = Validation::new(Algorithm::RS256);
        validation.leeway = LEEWAY.as_secs();
        let claims = if self.checked.contains(&fingerprint, now) {
            let data = jsonwebtoken::dangerous::insecure_decode::<Claims>(token);
            data.map_err(|_| Error::unauthorized(INVALID))?.claims
        } else {
            let data = jsonwebtoken::decode::<Claims>(token, &keys.decoding, &validation);
            let data = data.map_err(|error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::ExpiredSignature => Error::unauthorized(EXPIRED),
                _ => Error::unauthorized(INVALID),
            })?;
            self.checked.insert(fingerprint, now);
            data.claims
        };
        match claims.exp + LEEWAY.as_secs() < seconds_now() {
            true => Err(Error::unauthorized(EXPIRED)),
            false => Ok(claims),
        }
    }
}

impl Directory {
    /// An operation token and a refresh token for a user who has shown who it is.
    ///
    /// # Errors
    ///
    /// 404 for an unknown user, 500 without keys.
    pub async fn create_tokens(
        &self,
        user: &User,
        request: &TokenRequest,
        context: &Context,
    ) -> Result<TokenPair, Error> {
        let keys = self.token_keys().await?;
        let config = &self.tokens().config;
        let changing = self.changing().await;
        let snapshot = Arc::clone(&self.snapshot());
        let account = snapshot.users.get(&*user.username);
        let account = account.ok_or_else(|| Error::unauthorized(INVALID))?;
        let asked = request.expires_in.unwrap_or(config.operation_lifetime);
        let lifetime = asked.min(config.refresh_lifetime.max(config.operation_lifetime));
        // Not before the moment from which tokens of the user are valid, which can be the next second.
        let now = seconds_now().max(account.tokens_valid_from);
        let claims = |sub: &str, lifetime: Duration, jti| Claims {
            sub: sub.to_owned(),
            username: user.username.to_string(),
            super_user: user.permissions.super_user,
            role: request.role.clone(),
            iat: now,
            exp: now + lifetime.as_secs(),
            jti,
        };
        let id = uuid::Uuid::new_v4().to_string();
        let refresh = claims(REFRESH, config.refresh_lifetime, Some(id.clone()));
        let pair = TokenPair {
            operation_token: self
                .tokens()
                .encode(keys, &claims(OPERATION, lifetime, None))?,
            refresh_token: self.tokens().encode(keys, &refresh)?,
        };
        let mut kept: Vec<_> = account.refresh_tokens.clone();
        kept.retain(|token| token.expires > now);
        kept.push(StoredToken {
            id,
            hash: hash(&pair.refresh_token),
            expires: refresh.exp,
        });
        let first = kept.len().saturating_sub(REFRESH_TOKENS);
        let kept = kept[first..].iter().map(StoredToken::to_value).collect();
        let body = Map::from_iter([("refresh_tokens", Value::Array(kept))]);
        let kind = WriteKind::UpdateIfPresent;
        self.write_user(&user.username, kind, Some(body), context)
            .await?;
        self.reload_while(&changing).await?;
        Ok(pair)
    }

    /// A new operation token for a refresh token.
    ///
    /// # Errors
    ///
    /// 401 `invalid token` or `token expired`; 500 without keys.
    pub async fn refresh_operation_token(&self, token: &str) -> Result<String, Error> {
        let keys = self.token_keys().await?;
        let claims = self.tokens().decode(keys, token)?;
        let snapshot = Arc::clone(&self.snapshot());
        let account = valid_account(&snapshot.users, &claims, REFRESH)?;
        let hash = hash(token);
        let is_kept = |kept: &&StoredToken| {
            claims.jti.as_deref() == Some(&*kept.id)
                && bool::from(kept.hash.as_bytes().ct_eq(hash.as_bytes()))
        };
        if account.refresh_tokens.iter().find(is_kept).is_none() {
            return Err(Error::unauthorized(INVALID));
        }
        let now = seconds_now().max(account.tokens_valid_from);
        let Caller::User(user) = admit(&claims.username, account)? else {
            return Err(Error::unauthorized(INVALID));
        };
        let fresh = Claims {
            sub: OPERATION.to_owned(),
            super_user: user.permissions.super_user,
            iat: now,
            exp: now + self.tokens().config.operation_lifetime.as_secs(),
            jti: None,
            ..claims
        };
        self.tokens().encode(keys, &fresh)
    }

    /// Makes every token of the user worthless that was made until now.
    ///
    /// # Errors
    ///
    /// What the table answers.
    pub async fn revoke_tokens(&self, username: &str, context: &Context) -> Result<(), Error> {
        let changing = self.changing().await;
        let valid_from = self.tokens_valid_from(username);
        let body = Map::from_iter(revoked(valid_from));
        let kind = WriteKind::UpdateIfPresent;
        self.write_user(username, kind, Some(body), context).await?;
        self.reload_while(&changing).await
    }

    /// The caller behind an operation token.
    pub(crate) async fn check_token(&self, token: &str) -> Result<Caller, Error> {
        if self.tokens().config.keys.is_none() {
            return Err(Error::unauthorized(INVALID));
        }
        let keys = self.token_keys().await?;
        let claims = self.tokens().decode(keys, token)?;
        if claims.role.is_some() {
            return Err(Error::unauthorized(INVALID));
        }
        let snapshot = Arc::clone(&self.snapshot());
        admit(
            &claims.username,
            valid_account(&snapshot.users, &claims, OPERATION)?,
        )
    }

    /// From when tokens of the user are valid, in seconds since 1970.
    pub(crate) fn tokens_valid_from(&self, username: &str) -> u64 {
        let snapshot = self.snapshot();
        let account = snapshot.users.get(username);
        account.map_or(0, |account| account.tokens_valid_from)
    }

    async fn token_keys(&self) -> Result<&TokenKeys, Error> {
        let tokens = self.tokens();
        let Some(source) = tokens.config.keys.clone() else {
            return Err(Error::internal("there are no keys for tokens"));
        };
        let load = || async {
            let loaded = self.passwords().run(move || source()).await?;
            loaded.map_err(|error| Error::internal(format!("the keys for tokens: {error}")))
        };
        tokens.keys.get_or_try_init(load).await
    }
}

/// What a change of the password stores besides, so that tokens end that were made since `valid_from`, or before: the
/// next second, also when the last such change was in this one.
pub(crate) fn revoked(valid_from: u64) -> [(&'static str, Value); 2] {
    let next = seconds_now().max(valid_from).saturating_add(1);
    let next = i64::try_from(next).unwrap_or(i64::MAX);
    [
        ("refresh_tokens", Value::Null),
        ("tokens_valid_from", Value::Int(next)),
    ]
}

fn valid_account<'a>(
    users: &'a std::collections::BTreeMap<String, Account>,
    claims: &Claims,
    subject: &str,
) -> Result<&'a Account, Error> {
    let account = users.get(&claims.username);
    account
        .filter(|account| claims.sub == subject && claims.iat >= account.tokens_valid_from)
        .ok_or_else(|| Error::unauthorized(INVALID))
}

fn seconds_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Enough for a text that nobody can guess.
fn hash(token: &str) -> String {
    let digest = Sha256::digest(token.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
