//! Cipher suites by the names that OpenSSL gives them (`http-server.md` §5.3).

use rustls::crypto::aws_lc_rs::cipher_suite as suites;
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

/// Oldest TLS version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246). Nothing older is ever spoken.
    #[default]
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

impl TlsVersion {
    /// The versions of rustls from this one on.
    pub(crate) fn and_newer(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::V1_2 => rustls::ALL_VERSIONS.to_vec(),
            Self::V1_3 => vec![&rustls::version::TLS13],
        }
    }
}

/// A list of cipher suites, in the order of preference.
///
/// ```
/// use core_listener::CipherList;
///
/// let list = CipherList::parse("ECDHE-RSA-AES128-GCM-SHA256:TLS_AES_128_GCM_SHA256:RC4-SHA:!aNULL");
/// assert_eq!(list.names(), ["ECDHE-RSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256"]);
/// assert_eq!(list.unknown(), ["RC4-SHA"]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CipherList {
    suites: Vec<&'static Suite>,
    unknown: Vec<String>,
}

struct Suite {
    name: &'static str,
    suite: SupportedCipherSuite,
}

impl std::fmt::Debug for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Suite {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Suite {}

const fn suite(name: &'static str, suite: SupportedCipherSuite) -> Suite {
    Suite { name, suite }
}

/// Every suite that the library has, in its own order of preference.
static SUITES: [Suite; 9] = [
    suite("TLS_AES_256_GCM_SHA384", suites::TLS13_AES_256_GCM_SHA384),
    suite("TLS_AES_128_GCM_SHA256", suites::TLS13_AES_128_GCM_SHA256),
    suite(
        "TLS_CHACHA20_POLY1305_SHA256",
        suites::TLS13_CHACHA20_POLY1305_SHA256,
    ),
    suite(
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    suite(
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    suite(
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    suite(
        "ECDHE-RSA-AES256-GCM-SHA384",
        suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    suite(
        "ECDHE-RSA-AES128-GCM-SHA256",
        suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    suite(
        "ECDHE-RSA-CHACHA20-POLY1305",
        suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// Words for all suites that are worth having, which is all that the library has.
const EVERYTHING: [&str; 4] = ["DEFAULT", "HIGH", "ALL", "COMPLEMENTOFDEFAULT"];

impl CipherList {
    /// Reads suites separated by colons, commas or spaces.
    ///
    /// `DEFAULT`, `HIGH` and `ALL` stand for every suite. `!NAME` and `-NAME` take a suite away for good, or
    /// until it is named again; taking away what the library does not have (`!aNULL`, `!RC4`) changes
    /// nothing, and neither do `@STRENGTH` and `@SECLEVEL=N`, because there are no weak suites. Everything
    /// else that is not the name of a suite is [unknown](Self::unknown).
    pub fn parse(text: &str) -> Self {
        let mut list = Self {
            suites: Vec::new(),
            unknown: Vec::new(),
        };
        let mut banned: Vec<&Suite> = Vec::new();
        let words = text.split([':', ',', ' ']).filter(|word| !word.is_empty());
        for word in words {
            let (sign, name) = match word.as_bytes()[0] {
                sign @ (b'!' | b'-') => (sign, &word[1..]),
                _ => (b'+', word),
            };
            let named = SUITES.iter().find(|suite| suite.name == name);
            match (sign, named) {
                (b'+', Some(suite)) => list.suites.push(suite),
                (b'+', None) if EVERYTHING.contains(&name) => list.suites.extend(&SUITES),
                (b'+', None) if name.starts_with('@') => {}
                (b'+', None) => list.unknown.push(name.to_owned()),
                (sign, Some(suite)) => {
                    list.suites.retain(|held| *held != suite);
                    if sign == b'!' {
                        banned.push(suite);
                    }
                }
                (_, None) => {}
            }
        }
        let mut seen: Vec<&Suite> = banned;
        list.suites.retain(|suite| {
            let is_new = !seen.contains(suite);
            seen.push(suite);
            is_new
        });
        list
    }

    /// OpenSSL's names of the suites.
    pub fn names(&self) -> Vec<&'static str> {
        self.suites.iter().map(|suite| suite.name).collect()
    }

    /// Words that name no suite. Warn about them: they may be what somebody relied on.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// The suites that these versions can use.
    pub(crate) fn usable(&self, oldest: TlsVersion) -> Vec<SupportedCipherSuite> {
        let versions = oldest.and_newer();
        let usable = |suite: &SupportedCipherSuite| versions.contains(&suite.version());
        let suites = self.suites.iter().map(|suite| suite.suite);
        suites.filter(usable).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_of_the_library_has_a_name() {
        let ours: Vec<_> = SUITES.iter().map(|suite| suite.suite.suite()).collect();
        let all = rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES.iter();
        assert_eq!(ours, all.map(|suite| suite.suite()).collect::<Vec<_>>());
    }

    #[test]
    fn a_suite_that_is_taken_away_for_good_does_not_come_back() {
        let names = |text: &str| CipherList::parse(text).names();
        let one = "ECDHE-RSA-AES128-GCM-SHA256";
        assert_eq!(names(&format!("{one}:{one}")), [one]);
        assert_eq!(names("DEFAULT").len(), 9);
        assert_eq!(names("HIGH:!aNULL:!MD5:@SECLEVEL=2").len(), 9);
        assert_eq!(names(&format!("DEFAULT:!{one}:{one}")).len(), 8);
        assert_eq!(names(&format!("DEFAULT:-{one}:{one}")).len(), 9);
        assert_eq!(names(""), [""; 0]);
    }

    #[test]
    fn a_suite_belongs_to_its_version() {
        let list = CipherList::parse("ECDHE-RSA-AES128-GCM-SHA256");
        assert_eq!(list.usable(TlsVersion::V1_2).len(), 1);
        assert_eq!(list.usable(TlsVersion::V1_3).len(), 0);
    }
}
