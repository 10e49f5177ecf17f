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
use core_listener::{ClientAuth, ClientAuthorities, Identity, TicketKeys, TlsAcceptor, TlsConfig};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::config::{Mtls, Tls, TlsSource};

/// The certificates of all secure ports, as their files are now.
pub struct Certificates {
    entries: Vec<Tls>,
    mtls: Option<Mtls>,
    /// Kept over reloads, so that sessions are resumed.
    ticket_keys: TicketKeys,
    acceptor: TlsAcceptor,
    /// Asks for client certificates, if they are configured.
    application: TlsAcceptor,
    /// What the files looked like when they were last loaded, and at the last look.
    stamps: Mutex<(Stamps, Stamps)>,
}

/// Time of change and length of each file; none for one that cannot be seen.
type Stamps = Vec<Option<(SystemTime, u64)>>;

impl Certificates {
    /// Loads all entries; the first start makes the default one.
    ///
    /// # Errors
    ///
    /// If a file is missing or no certificate, or a key does not belong to its certificate; the error names it.
    pub fn new(entries: &[Tls], mtls: Option<&Mtls>) -> anyhow::Result<Self> {
        for entry in entries {
            make_default(entry)?;
        }
        let ticket_keys = TicketKeys::new()?;
        let stamps = stamps(entries, mtls);
        let acceptor = TlsAcceptor::new(load(entries, &ticket_keys)?);
        let application = match mtls {
            None => acceptor.clone(),
            Some(mtls) => TlsAcceptor::new(load_mutual(entries, mtls)?),
        };
        Ok(Self {
            acceptor,
            application,
            mtls: mtls.cloned(),
            stamps: Mutex::new((stamps.clone(), stamps)),
            entries: entries.to_vec(),
            ticket_keys,
        })
    }

    /// For this listener.
    pub fn acceptor(&self, setting: &str) -> &TlsAcceptor {
        match setting {
            "http.securePort" => &self.application,
            _ => &self.acceptor,
        }
    }

    /// Loads the files again. If they do not fit together, the earlier certificates stay and the error is logged.
    pub fn reload(&self) {
        match self.try_reload() {
            Ok(()) => tracing::info!("loaded the certificates again"),
            Err(error) => tracing::error!("the certificates stay as they were: {error:#}"),
        }
    }

    fn try_reload(&self) -> anyhow::Result<()> {
        let tls = load(&self.entries, &self.ticket_keys)?;
        let mutual = self.mtls.as_ref();
        let mutual = mutual
            .map(|mtls| load_mutual(&self.entries, mtls))
            .transpose()?;
        self.acceptor.replace(tls);
        if let Some(mutual) = mutual {
            self.application.replace(mutual);
        }
        Ok(())
    }

    /// Loads the files again if they have changed and nobody has touched them since the look before, which
    /// gives a certificate and its key the time to be replaced together.
    pub fn reload_if_changed(&self) {
        let now = stamps(&self.entries, self.mtls.as_ref());
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

fn stamps(entries: &[Tls], mtls: Option<&Mtls>) -> Stamps {
    let files = entries
        .iter()
        .flat_map(|entry| [&entry.certificate, &entry.private_key])
        .chain(mtls.into_iter().flat_map(|mtls| &mtls.authorities));
    let stamp = |source: &TlsSource| match source {
        TlsSource::File(path) => {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        }
        TlsSource::Text(_) => None,
    };
    files.map(stamp).collect()
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

fn load(entries: &[Tls], ticket_keys: &TicketKeys) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    Ok(settings(entries)?
        .ticket_keys(ticket_keys.clone())
        .build()?)
}

/// Settings that ask for client certificates. Their ticket keys are their own and new each time: a session of
/// another port, or from before the authorities changed, must not stand in for a verified certificate.
fn load_mutual(entries: &[Tls], mtls: &Mtls) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let texts: Vec<_> = mtls
        .authorities
        .iter()
        .map(|authority| text("certificateAuthority", authority))
        .collect::<anyhow::Result<_>>()?;
    let authorities = ClientAuthorities::from_pem(&texts.join("\n"))
        .context("the authorities of http.mtls cannot be used")?;
    let client_auth = match mtls.required {
        true => ClientAuth::Required(authorities),
        false => ClientAuth::Optional(authorities),
    };
    Ok(settings(entries)?.client_auth(client_auth).build()?)
}

fn settings(entries: &[Tls]) -> anyhow::Result<TlsConfig> {
    let (first, others) = entries.split_first().context("no certificate")?;
    let mut config = TlsConfig::with_hosts(first.hosts.clone(), identity(first)?);
    for other in others {
        config = config.identity(other.hosts.clone(), identity(other)?);
    }
    Ok(config)
}

fn identity(tls: &Tls) -> anyhow::Result<Identity> {
    Ok(match (&tls.certificate, &tls.private_key) {
        (TlsSource::File(certificate), TlsSource::File(key)) => {
            Identity::from_pem_files(certificate, key)?
        }
        (certificate, key) => Identity::from_pem(
            &text("tls.certificate", certificate)?,
            &text("tls.privateKey", key)?,
        )?,
    })
}

fn text(setting: &str, source: &TlsSource) -> anyhow::Result<String> {
    match source {
        TlsSource::Text(text) => Ok(text.clone()),
        TlsSource::File(path) => fs::read_to_string(path)
            .with_context(|| format!("cannot read {} ({setting})", path.display())),
    }
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
    use crate::config::file::TlsVersion;

    #[test]
    fn the_first_start_makes_an_owner_only_pair_that_loads_and_the_second_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| TlsSource::File(dir.path().join("keys").join(name));
        let tls = Tls {
            hosts: Vec::new(),
            certificate: file("certificate.pem"),
            private_key: file("privateKey.pem"),
            authority: file("ca.pem"),
            is_default: true,
            ciphers: None,
            min_version: TlsVersion::V12,
            uses: Vec::new(),
        };
        Certificates::new(std::slice::from_ref(&tls), None).unwrap();
        let key = dir.path().join("keys/privateKey.pem");
        assert_eq!(
            fs::metadata(&key).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let before = fs::read(&key).unwrap();
        Certificates::new(std::slice::from_ref(&tls), None).unwrap();
        assert_eq!(fs::read(&key).unwrap(), before);
    }

    #[test]
    fn a_configured_certificate_that_is_missing_is_named() {
        let tls = Tls {
            hosts: Vec::new(),
            certificate: TlsSource::File("/nowhere/c.pem".into()),
            private_key: TlsSource::File("/nowhere/k.pem".into()),
            authority: TlsSource::File("/nowhere/ca.pem".into()),
            is_default: false,
            ciphers: None,
            min_version: TlsVersion::V12,
            uses: Vec::new(),
        };
        let error = format!("{:#}", Certificates::new(&[tls], None).err().unwrap());
        assert!(error.contains("/nowhere/c.pem"), "{error}");
    }
}
