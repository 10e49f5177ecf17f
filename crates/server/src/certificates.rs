//! Certificates of the secure ports: loaded, or made at the first start.
//!
//! The first start of a secure port without a certificate makes a local authority and a certificate signed by
//! it for `localhost` and the loopback addresses, under `<rootPath>/keys` (`http-server.md` §5.1).

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use anyhow::Context as _;
use core_listener::{
    CertificateInfo, CipherList, ClientAuth, ClientAuthorities, CrlConfig, FailureMode, Identity,
    OcspConfig, Revocation, RevocationConfig, TicketKeys, TlsAcceptor, TlsConfig, TlsEntry,
    TlsVersion,
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::config::{Config, Mtls, Tls, TlsSource, Verification, file};

/// The certificates of all secure ports, as their files are now.
pub struct Certificates {
    kinds: Vec<Kind>,
    /// What the files looked like when they were last loaded, and at the last look.
    stamps: Mutex<(Stamps, Stamps)>,
}

/// Time of change and length of each file; none for one that cannot be seen.
type Stamps = Vec<Option<(SystemTime, u64)>>;

/// The listeners of one kind, which share their settings.
struct Kind {
    /// As `tls.uses` names it.
    name: &'static str,
    /// Begin of the names of their settings.
    prefix: &'static str,
    entries: Vec<Tls>,
    mtls: Option<Mtls>,
    /// Kept over reloads, so that sessions are resumed; shared by the kinds that ask for no certificate.
    ticket_keys: TicketKeys,
    acceptor: TlsAcceptor,
}

impl Certificates {
    /// Loads all entries; the first start makes the default one.
    ///
    /// # Errors
    ///
    /// If a file is missing or no certificate, a key does not belong to its certificate, or a setting cannot work;
    /// the error names it.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let operations = config.operations.tls.as_ref().unwrap_or(&config.tls);
        let kinds = [
            ("https", "http.", &config.tls, &config.mtls),
            (
                "operations",
                "operationsApi.",
                operations,
                &config.operations.mtls,
            ),
            ("mqtt", "mqtt.", &config.tls, &config.mqtt.mtls),
        ];
        for entry in config.tls.iter().chain(operations) {
            make_default(entry)?;
            report_ciphers(entry);
        }
        let ticket_keys = TicketKeys::new()?;
        let kinds = kinds.into_iter().map(|(name, prefix, entries, mtls)| {
            let settings = settings(name, entries, mtls.as_ref(), &ticket_keys)?;
            anyhow::Ok(Kind {
                name,
                prefix,
                acceptor: TlsAcceptor::from_config(settings)?,
                entries: entries.clone(),
                mtls: mtls.clone(),
                ticket_keys: ticket_keys.clone(),
            })
        });
        let kinds: Vec<Kind> = kinds.collect::<Result<_, _>>()?;
        let stamps = stamps(&kinds);
        Ok(Self {
            stamps: Mutex::new((stamps.clone(), stamps)),
            kinds,
        })
    }

    /// For the listener of this setting.
    pub fn acceptor(&self, setting: &str) -> &TlsAcceptor {
        let of = |kind: &&Kind| setting.starts_with(kind.prefix);
        let kind = self.kinds.iter().find(of);
        &kind.expect("every secure port is of a kind").acceptor
    }

    /// Names and ends of validity of all certificates in use, each once.
    pub fn in_use(&self) -> Vec<CertificateInfo> {
        let mut all: Vec<CertificateInfo> = Vec::new();
        for info in self
            .kinds
            .iter()
            .flat_map(|kind| kind.acceptor.certificates())
        {
            if !all.contains(&info) {
                all.push(info);
            }
        }
        all
    }

    /// Loads the files again. If they do not fit together, the earlier certificates stay and the error is logged.
    pub fn reload(&self) {
        match self.try_reload() {
            Ok(()) => tracing::info!("loaded the certificates again"),
            Err(error) => tracing::error!("the certificates stay as they were: {error:#}"),
        }
    }

    fn try_reload(&self) -> anyhow::Result<()> {
        // All are read before any is used.
        let mut loaded = Vec::new();
        for kind in &self.kinds {
            let settings = settings(
                kind.name,
                &kind.entries,
                kind.mtls.as_ref(),
                &kind.ticket_keys,
            )?;
            loaded.push((kind, settings));
        }
        for (kind, settings) in loaded {
            kind.acceptor.replace_config(settings)?;
        }
        Ok(())
    }

    /// Loads the files again if they have changed and nobody has touched them since the look before, which
    /// gives a certificate and its key the time to be replaced together.
    pub fn reload_if_changed(&self) {
        let now = stamps(&self.kinds);
        // Nothing that can panic runs under the lock.
        let mut stamps = self
            .stamps
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let (loaded, seen) = &mut *stamps;
        if now != *seen {
            *seen = now;
        } else if now != *loaded {
            *loaded = now;
            drop(stamps);
            self.reload();
        }
    }
}

fn stamps(kinds: &[Kind]) -> Stamps {
    let of_entry = |entry: &Tls| [entry.certificate.clone(), entry.private_key.clone()];
    let sources = kinds.iter().flat_map(|kind| {
        let authorities = kind.mtls.iter().flat_map(|mtls| mtls.authorities.clone());
        kind.entries.iter().flat_map(of_entry).chain(authorities)
    });
    let stamp = |source: TlsSource| match source {
        TlsSource::File(path) => {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        }
        TlsSource::Text(_) => None,
    };
    sources.map(stamp).collect()
}

/// Says which names of cipher suites mean nothing here.
fn report_ciphers(tls: &Tls) {
    let Some(ciphers) = &tls.ciphers else { return };
    let list = CipherList::parse(ciphers);
    if !list.unknown().is_empty() {
        tracing::warn!(
            "'tls.ciphers' names suites that are not available: {}",
            list.unknown().join(", ")
        );
    }
}

/// What the listeners of one kind present, ask for and refuse.
fn settings(
    kind: &str,
    entries: &[Tls],
    mtls: Option<&Mtls>,
    ticket_keys: &TicketKeys,
) -> anyhow::Result<TlsConfig> {
    let (first, others) = entries.split_first().context("no certificate")?;
    let mut config = TlsConfig::with_entry(entry(first)?);
    for other in others {
        config = config.entry(entry(other)?);
    }
    let own: Vec<&Tls> = entries
        .iter()
        .filter(|entry| entry.uses.is_empty() || entry.uses.iter().any(|used| used == kind))
        .collect();
    let versions = own.iter().map(|entry| match entry.min_version {
        file::TlsVersion::V12 => TlsVersion::V1_2,
        file::TlsVersion::V13 => TlsVersion::V1_3,
    });
    config = config
        .for_use(kind)
        .minimum_version(versions.max().unwrap_or_default());
    if let Some(ciphers) = own.iter().find_map(|entry| entry.ciphers.as_ref()) {
        config = config.ciphers(CipherList::parse(ciphers));
    }
    match mtls {
        None => Ok(config.ticket_keys(ticket_keys.clone())),
        // Keys of its own, new each time: a session of another port, or from before the authorities changed, must
        // not stand in for a verified certificate.
        Some(mtls) => with_clients(config, mtls),
    }
}

fn with_clients(config: TlsConfig, mtls: &Mtls) -> anyhow::Result<TlsConfig> {
    let texts: Vec<_> = mtls
        .authorities
        .iter()
        .map(|authority| text("certificateAuthority", authority))
        .collect::<anyhow::Result<_>>()?;
    let authorities = ClientAuthorities::from_pem(&texts.join("\n"))
        .context("the authorities of mtls cannot be used")?;
    let config = match &mtls.verification {
        None => config,
        Some(verification) => {
            let check = Revocation::new(revocation(verification), &authorities)?;
            config.certificate_check(Arc::new(check))
        }
    };
    Ok(config.client_auth(match mtls.required {
        true => ClientAuth::Required(authorities),
        false => ClientAuth::Optional(authorities),
    }))
}

fn revocation(verification: &Verification) -> RevocationConfig {
    let mode = |mode| match mode {
        file::FailureMode::FailClosed => FailureMode::FailClosed,
        file::FailureMode::FailOpen => FailureMode::FailOpen,
    };
    let mut config = RevocationConfig::default();
    config.failure_mode = mode(verification.failure_mode);
    config.crl = verification.crl.map(|given| {
        let mut crl = CrlConfig::default();
        crl.timeout = given.timeout;
        crl.cache_ttl = given.cache_ttl;
        crl.grace_period = given.grace_period;
        crl.failure_mode = Some(mode(given.failure_mode));
        crl
    });
    config.ocsp = verification.ocsp.map(|given| {
        let mut ocsp = OcspConfig::default();
        ocsp.timeout = given.timeout;
        ocsp.cache_ttl = given.cache_ttl;
        ocsp.error_cache_ttl = given.error_cache_ttl;
        ocsp.failure_mode = Some(mode(given.failure_mode));
        ocsp
    });
    config
}

fn entry(tls: &Tls) -> anyhow::Result<TlsEntry> {
    let identity = match (&tls.certificate, &tls.private_key) {
        (TlsSource::File(certificate), TlsSource::File(key)) => {
            Identity::from_pem_files(certificate, key)?
        }
        (certificate, key) => Identity::from_pem(
            &text("tls.certificate", certificate)?,
            &text("tls.privateKey", key)?,
        )?,
    };
    // The authority completes the chain where it is known; it need not exist.
    let identity = match text("tls.certificateAuthority", &tls.authority) {
        Ok(authority) => identity.complete_chain(&authority)?,
        Err(_) => identity,
    };
    Ok(TlsEntry::new(identity)
        .hosts(tls.hosts.clone())
        .uses(tls.uses.clone()))
}

fn text(setting: &str, source: &TlsSource) -> anyhow::Result<String> {
    match source {
        TlsSource::Text(text) => Ok(text.clone()),
        TlsSource::File(path) => fs::read_to_string(path)
            .with_context(|| format!("cannot read {} ({setting})", path.display())),
    }
}

fn make_default(tls: &Tls) -> anyhow::Result<()> {
    if let (true, TlsSource::File(certificate), TlsSource::File(key)) =
        (tls.is_default, &tls.certificate, &tls.private_key)
        && !certificate.exists()
        && !key.exists()
    {
        let directory = certificate
            .parent()
            .context("the default certificate has a directory")?;
        make(directory)
            .with_context(|| format!("cannot make certificates in {}", directory.display()))?;
    }
    Ok(())
}

fn make(directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory)?;
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.distinguished_name = name("Motet local authority");
    valid_for_ten_years(&mut authority);
    let authority_certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate()?;
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut certificate = CertificateParams::new(names)?;
    certificate.distinguished_name = name("localhost");
    valid_for_ten_years(&mut certificate);
    let certificate = certificate.signed_by(&key, &issuer)?;
    owner_only(
        &directory.join("ca.pem"),
        authority_certificate.pem().as_bytes(),
    )?;
    owner_only(
        &directory.join("privateKey.pem"),
        key.serialize_pem().as_bytes(),
    )?;
    owner_only(
        &directory.join("certificate.pem"),
        certificate.pem().as_bytes(),
    )?;
    tracing::warn!(
        "made a local authority and a certificate for localhost in {}",
        directory.display()
    );
    Ok(())
}

fn name(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn valid_for_ten_years(params: &mut CertificateParams) {
    let now = time::OffsetDateTime::now_utc();
    // A day back, for clients whose clock is behind.
    params.not_before = now - time::Duration::days(1);
    params.not_after = now + time::Duration::days(3650);
}

/// Writes a new file that only its owner can read.
///
/// # Errors
///
/// If it exists, or cannot be written.
pub fn owner_only(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut file = file.with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(content)?;
    file.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::{Mode, Sources, load};

    fn config(root: &Path, more: &str) -> Config {
        fs::write(root.join("motet.yaml"), more).unwrap();
        let environment = vec![("ROOTPATH".to_owned(), root.display().to_string())];
        let sources = Sources {
            environment,
            ..Sources::default()
        };
        load(Mode::Run, &sources).unwrap()
    }

    #[test]
    fn the_first_start_makes_an_owner_only_pair_that_loads_and_the_second_keeps_it() {
        let root = tempfile::tempdir().unwrap();
        let config = config(root.path(), "");
        Certificates::new(&config).unwrap();
        let key = root.path().join("keys/privateKey.pem");
        let mode = fs::metadata(&key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let before = fs::read(&key).unwrap();
        let certificates = Certificates::new(&config).unwrap();
        assert_eq!(fs::read(&key).unwrap(), before);
        assert_eq!(certificates.in_use().len(), 1);
    }

    #[test]
    fn a_configured_certificate_that_is_missing_is_named() {
        let root = tempfile::tempdir().unwrap();
        let config = config(
            root.path(),
            "tls:\n  certificate: /nowhere/c.pem\n  privateKey: /nowhere/k.pem\n",
        );
        let error = format!("{:#}", Certificates::new(&config).err().unwrap());
        assert!(error.contains("/nowhere/c.pem"), "{error}");
    }

    #[test]
    fn a_list_of_ciphers_without_one_that_exists_stops_the_start() {
        let root = tempfile::tempdir().unwrap();
        let config = config(root.path(), "tls:\n  ciphers: RC4-SHA\n");
        let error = format!("{:#}", Certificates::new(&config).err().unwrap());
        assert!(error.contains("cipher"), "{error}");
    }

    #[test]
    fn an_entry_for_operations_alone_is_not_served_elsewhere() {
        let root = tempfile::tempdir().unwrap();
        make(&root.path().join("other")).unwrap();
        let other = |file: &str| root.path().join("other").join(file).display().to_string();
        let text = format!(
            "tls:\n- {{}}\n- {{certificate: '{}', privateKey: '{}', host: ops.example, uses: [operations]}}\n",
            other("certificate.pem"),
            other("privateKey.pem"),
        );
        let certificates = Certificates::new(&config(root.path(), &text)).unwrap();
        let names = |setting: &str| {
            let infos = certificates.acceptor(setting).certificates();
            infos.into_iter().map(|info| info.name).collect::<Vec<_>>()
        };
        assert_eq!(names("http.securePort"), ["localhost"]);
        let operations = names("operationsApi.network.securePort");
        assert_eq!(operations, ["localhost", "ops.example"]);
    }
}
