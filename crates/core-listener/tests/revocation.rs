//! Revocation (`http-server.md` §5.5) against lists and responders that a test serves itself.

use std::collections::HashMap;
use std::convert::Infallible;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use core_listener::{
    CertificateCheck, ClientAuthorities, FailureMode, HttpConfig, Listener, RequestBody,
    Revocation, RevocationConfig, Server, ServerGuard, service_fn,
};
use der::asn1::{BitString, ObjectIdentifier, OctetString};
use der::{Decode, Encode};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use rcgen::{
    CertificateParams, CertificateRevocationListParams, CertifiedIssuer, CrlDistributionPoint,
    CustomExtension, ExtendedKeyUsagePurpose, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, SigningKey,
};
use rustls::pki_types::CertificateDer;
use x509_ocsp::{
    BasicOcspResponse, CertStatus, OcspGeneralizedTime, OcspRequest, OcspResponse,
    OcspResponseStatus, ResponderId, ResponseBytes, ResponseData, SingleResponse, Version,
};

type Issuer = CertifiedIssuer<'static, KeyPair>;

const DAY: Duration = Duration::from_secs(86_400);

/// What is served at a path, and how often it was asked for.
#[derive(Default)]
struct Site {
    pages: HashMap<String, Page>,
    visits: HashMap<String, u32>,
}

type Page = Arc<dyn Fn(&[u8]) -> (StatusCode, Vec<u8>) + Send + Sync>;

/// A web server for lists and answers, and an authority that names it in its certificates.
struct World {
    site: Arc<Mutex<Site>>,
    server: ServerGuard,
    authority: Issuer,
}

impl World {
    fn new() -> Self {
        let site = Arc::new(Mutex::new(Site::default()));
        let pages = site.clone();
        let listener = Listener::http(
            "site",
            "127.0.0.1:0".parse().unwrap(),
            HttpConfig::default(),
            move |_| {
                let site = pages.clone();
                service_fn(move |request| serve(site.clone(), request))
            },
        );
        let server = Server::new(NonZeroU16::MIN)
            .listen(listener)
            .start()
            .unwrap();
        Self {
            site,
            server: server.into_guard(),
            authority: issuer("authority"),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.server.port())
    }

    fn page(
        &self,
        path: &str,
        page: impl Fn(&[u8]) -> (StatusCode, Vec<u8>) + Send + Sync + 'static,
    ) {
        let page = Arc::new(page);
        self.site
            .lock()
            .unwrap()
            .pages
            .insert(path.to_owned(), page);
    }

    fn bytes(&self, path: &str, bytes: Vec<u8>) {
        self.page(path, move |_| (StatusCode::OK, bytes.clone()));
    }

    fn visits(&self, path: &str) -> u32 {
        let site = self.site.lock().unwrap();
        site.visits.get(path).copied().unwrap_or(0)
    }

    /// A certificate with this number that names these addresses.
    fn leaf(
        &self,
        serial: u64,
        list: Option<&str>,
        responder: Option<&str>,
    ) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        params.crl_distribution_points = list
            .map(|path| CrlDistributionPoint {
                uris: vec![self.url(path)],
            })
            .into_iter()
            .collect();
        params.custom_extensions = responder
            .map(|path| authority_information(&self.url(path)))
            .into_iter()
            .collect();
        let key = KeyPair::generate().unwrap();
        params
            .signed_by(&key, &self.authority)
            .unwrap()
            .der()
            .clone()
    }

    fn check(&self, change: impl FnOnce(&mut RevocationConfig)) -> Revocation {
        let mut config = RevocationConfig::default();
        change(&mut config);
        let authorities = ClientAuthorities::from_pem(&self.authority.pem()).unwrap();
        Revocation::new(config, &authorities).unwrap()
    }

    fn list(&self, revoked: &[u64]) -> Vec<u8> {
        list(&self.authority, revoked, SystemTime::now() + DAY).0
    }

    /// Serves answers that say this of every certificate, signed by this key, with these certificates.
    fn responder(
        &self,
        path: &str,
        status: impl Fn() -> CertStatus + Send + Sync + 'static,
        key: Arc<dyn SigningKey + Send + Sync>,
        certificates: Vec<Vec<u8>>,
    ) {
        self.page(path, move |question| {
            let question = OcspRequest::from_der(question).unwrap();
            let asked = question.tbs_request.request_list[0].req_cert.clone();
            let now = SystemTime::now();
            let single = SingleResponse {
                cert_id: asked,
                cert_status: status(),
                this_update: at(now),
                next_update: Some(at(now + DAY)),
                single_extensions: None,
            };
            (StatusCode::OK, answer(single, &*key, &certificates))
        });
    }

    fn authority_key(&self) -> Arc<dyn SigningKey + Send + Sync> {
        let key = KeyPair::from_pem(&self.authority.key().serialize_pem()).unwrap();
        Arc::new(key)
    }
}

async fn serve(
    site: Arc<Mutex<Site>>,
    request: Request<RequestBody>,
) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let question = request.into_body().collect().await.unwrap().to_bytes();
    let page = {
        let mut site = site.lock().unwrap();
        *site.visits.entry(path.clone()).or_default() += 1;
        site.pages.get(&path).cloned()
    };
    let (status, body) = page.map_or((StatusCode::NOT_FOUND, Vec::new()), |page| page(&question));
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    if status.is_redirection() {
        let location = String::from_utf8(body).unwrap().parse().unwrap();
        response.headers_mut().insert("location", location);
    } else {
        *response.body_mut() = Full::from(body);
    }
    Ok(response)
}

fn issuer(name: &str) -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::CrlSign, KeyUsagePurpose::KeyCertSign];
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// The extension with the address of a responder (RFC 5280, section 4.2.2.1), all lengths below 128.
fn authority_information(url: &str) -> CustomExtension {
    let tlv = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).unwrap();
        [&[tag, length], content].concat()
    };
    let method = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1")
        .to_der()
        .unwrap();
    let description = [method, tlv(0x86, url.as_bytes())].concat();
    let content = tlv(0x30, &tlv(0x30, &description));
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], content)
}

/// A list in DER and PEM.
fn list(issuer: &Issuer, revoked: &[u64], next_update: SystemTime) -> (Vec<u8>, String) {
    let params = CertificateRevocationListParams {
        this_update: (SystemTime::now() - 2 * DAY).into(),
        next_update: next_update.into(),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked
            .iter()
            .map(|serial| RevokedCertParams {
                serial_number: SerialNumber::from(*serial),
                revocation_time: SystemTime::now().into(),
                reason_code: None,
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = params.signed_by(issuer).unwrap();
    (list.der().to_vec(), list.pem().unwrap())
}

fn answer(single: SingleResponse, key: &dyn SigningKey, certificates: &[Vec<u8>]) -> Vec<u8> {
    let content = ResponseData {
        version: Version::V1,
        responder_id: ResponderId::ByKey(OctetString::new([0; 20]).unwrap()),
        produced_at: at(SystemTime::now()),
        responses: vec![single],
        response_extensions: None,
    };
    let signature = key.sign(&content.to_der().unwrap()).unwrap();
    let certificates: Vec<_> = certificates
        .iter()
        .map(|der| x509_cert::Certificate::from_der(der).unwrap())
        .collect();
    let basic = BasicOcspResponse {
        tbs_response_data: content,
        signature_algorithm: x509_cert::spki::AlgorithmIdentifierOwned {
            // ecdsa-with-SHA256
            oid: ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"),
            parameters: None,
        },
        signature: BitString::from_bytes(&signature).unwrap(),
        certs: (!certificates.is_empty()).then_some(certificates),
    };
    let response = OcspResponse {
        response_status: OcspResponseStatus::Successful,
        response_bytes: Some(ResponseBytes {
            response_type: ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1"),
            response: OctetString::new(basic.to_der().unwrap()).unwrap(),
        }),
    };
    response.to_der().unwrap()
}

fn at(time: SystemTime) -> OcspGeneralizedTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seconds = Duration::from_secs(since.as_secs());
    der::asn1::GeneralizedTime::from_unix_duration(seconds)
        .unwrap()
        .into()
}

fn good() -> CertStatus {
    CertStatus::good()
}

fn revoked() -> CertStatus {
    CertStatus::revoked(x509_ocsp::RevokedInfo {
        revocation_time: at(SystemTime::now()),
        revocation_reason: None,
    })
}

async fn ask(check: &Revocation, leaf: &CertificateDer<'static>) -> Result<(), String> {
    let chain = Arc::from([leaf.clone()]);
    tokio::time::timeout(Duration::from_secs(20), check.check(chain))
        .await
        .expect("took too long")
}

fn assert_refused(result: Result<(), String>, reason: &str) {
    let message = result.expect_err("it was accepted");
    assert!(message.contains(reason), "{message}");
}

#[tokio::test]
async fn a_list_decides_and_is_fetched_once_for_all() {
    let world = World::new();
    world.bytes("/list", world.list(&[7]));
    let check = world.check(|_| {});
    let (bad, fine) = (
        world.leaf(7, Some("/list"), None),
        world.leaf(8, Some("/list"), None),
    );
    let results = tokio::join!(ask(&check, &bad), ask(&check, &fine), ask(&check, &fine));
    assert_refused(results.0, "the certificate is revoked");
    assert_eq!((results.1, results.2), (Ok(()), Ok(())));
    assert_eq!(world.visits("/list"), 1);
}

#[tokio::test]
async fn a_list_in_pem_and_behind_a_redirection_is_read_too() {
    let world = World::new();
    let (_, pem) = list(&world.authority, &[7], SystemTime::now() + DAY);
    world.bytes("/pem", pem.into_bytes());
    world.page("/list", |_| (StatusCode::FOUND, b"/pem".to_vec()));
    let check = world.check(|_| {});
    assert_refused(
        ask(&check, &world.leaf(7, Some("/list"), None)).await,
        "revoked",
    );
    assert_eq!(
        ask(&check, &world.leaf(8, Some("/list"), None)).await,
        Ok(())
    );
}

#[tokio::test]
async fn a_redirection_away_from_http_or_without_end_is_not_followed() {
    let world = World::new();
    world.page("/file", |_| {
        (StatusCode::FOUND, b"file:///etc/passwd".to_vec())
    });
    world.page("/round", |_| (StatusCode::FOUND, b"/round".to_vec()));
    let check = world.check(|_| {});
    assert_refused(
        ask(&check, &world.leaf(1, Some("/file"), None)).await,
        "file:///etc/passwd is not an HTTP address",
    );
    assert_refused(
        ask(&check, &world.leaf(1, Some("/round"), None)).await,
        "too many redirections",
    );
    assert_eq!(world.visits("/round"), 4);
}

#[tokio::test]
async fn a_list_with_a_bad_signature_is_refused_always() {
    let world = World::new();
    // The same name, another key.
    let (forged, _) = list(&issuer("authority"), &[], SystemTime::now() + DAY);
    world.bytes("/list", forged);
    let check = world.check(|config| config.failure_mode = FailureMode::FailOpen);
    assert_refused(
        ask(&check, &world.leaf(1, Some("/list"), None)).await,
        "is not signed by the issuer",
    );
}

#[tokio::test]
async fn what_cannot_be_determined_follows_the_failure_mode() {
    let world = World::new();
    world.bytes(
        "/other",
        list(&issuer("other"), &[], SystemTime::now() + DAY).0,
    );
    world.bytes("/noise", b"no list".to_vec());
    let stranger = issuer("stranger");
    let key = KeyPair::generate().unwrap();
    let orphan = CertificateParams::new(Vec::new()).unwrap();
    let orphan = orphan.signed_by(&key, &stranger).unwrap().der().clone();
    for (leaf, reason) in [
        (world.leaf(1, None, None), "no-verification-available"),
        (
            world.leaf(1, Some("/nowhere"), None),
            "answered 404 Not Found",
        ),
        (
            world.leaf(1, Some("/other"), None),
            "it is of another issuer",
        ),
        (world.leaf(1, Some("/noise"), None), "cannot be used"),
        (
            world.leaf(1, None, Some("/nowhere")),
            "answered 404 Not Found",
        ),
        (orphan, "no-issuer-cert"),
    ] {
        let (closed, open) = (
            world.check(|_| {}),
            world.check(|config| config.failure_mode = FailureMode::FailOpen),
        );
        assert_refused(ask(&closed, &leaf).await, reason);
        assert_eq!(ask(&open, &leaf).await, Ok(()), "{reason}");
    }
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_where_failures_are_forgiven() {
    let world = World::new();
    world.bytes("/list", world.list(&[7]));
    world.responder("/ocsp", revoked, world.authority_key(), Vec::new());
    let check = world.check(|config| config.failure_mode = FailureMode::FailOpen);
    for leaf in [
        world.leaf(7, Some("/list"), None),
        world.leaf(8, None, Some("/ocsp")),
    ] {
        assert_refused(ask(&check, &leaf).await, "the certificate is revoked");
    }
}

#[tokio::test]
async fn the_part_that_failed_can_have_a_failure_mode_of_its_own() {
    let world = World::new();
    let check = world.check(|config| {
        let mut crl = config.crl.take().unwrap();
        crl.failure_mode = Some(FailureMode::FailOpen);
        config.crl = Some(crl);
    });
    assert_eq!(ask(&check, &world.leaf(1, Some("/no"), None)).await, Ok(()));
    assert_refused(ask(&check, &world.leaf(1, None, Some("/no"))).await, "404");
    assert_refused(
        ask(&check, &world.leaf(1, Some("/no"), Some("/no"))).await,
        "404",
    );
}

#[tokio::test]
async fn a_list_may_be_used_in_its_grace_period_and_not_after() {
    let world = World::new();
    let ago = |days| SystemTime::now() - days * DAY / 2;
    world.bytes("/late", list(&world.authority, &[7], ago(1)).0);
    world.bytes("/old", list(&world.authority, &[7], ago(3)).0);
    let check = world.check(|_| {});
    assert_eq!(
        ask(&check, &world.leaf(8, Some("/late"), None)).await,
        Ok(())
    );
    assert_refused(
        ask(&check, &world.leaf(7, Some("/late"), None)).await,
        "revoked",
    );
    assert_refused(
        ask(&check, &world.leaf(8, Some("/old"), None)).await,
        "is out of date",
    );
}

#[tokio::test]
async fn the_responder_is_asked_when_there_is_no_list() {
    let world = World::new();
    world.responder("/good", good, world.authority_key(), Vec::new());
    world.responder("/bad", revoked, world.authority_key(), Vec::new());
    world.responder(
        "/unknown",
        CertStatus::unknown,
        world.authority_key(),
        Vec::new(),
    );
    let check = world.check(|_| {});
    let fine = world.leaf(1, Some("/nowhere"), Some("/good"));
    for _ in 0..3 {
        assert_eq!(ask(&check, &fine).await, Ok(()));
    }
    assert_eq!(world.visits("/good"), 1, "the answer is remembered");
    assert_refused(
        ask(&check, &world.leaf(1, None, Some("/bad"))).await,
        "revoked",
    );
    let unknown = world.leaf(1, None, Some("/unknown"));
    for _ in 0..2 {
        assert_refused(ask(&check, &unknown).await, "does not know");
    }
    assert_eq!(world.visits("/unknown"), 1, "the failure is remembered");
}

#[tokio::test]
async fn an_answer_is_signed_by_the_issuer_or_by_whom_it_delegated_that_to() {
    let world = World::new();
    let delegate = |purposes: Vec<ExtendedKeyUsagePurpose>, issuer: &Issuer| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.extended_key_usages = purposes;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap().der().to_vec();
        (Arc::new(key), certificate)
    };
    let ocsp = || vec![ExtendedKeyUsagePurpose::OcspSigning];
    let client = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let cases = [
        ("/delegate", delegate(ocsp(), &world.authority), true),
        ("/client", delegate(client, &world.authority), false),
        ("/stranger", delegate(ocsp(), &issuer("authority")), false),
    ];
    for (path, (key, certificate), accepted) in cases {
        world.responder(path, good, key, vec![certificate]);
        let result = ask(&world.check(|_| {}), &world.leaf(1, None, Some(path))).await;
        match accepted {
            true => assert_eq!(result, Ok(()), "{path}"),
            false => assert_refused(result, "is not signed by the issuer"),
        }
    }
}

#[tokio::test]
async fn an_answer_about_another_certificate_or_out_of_date_is_none() {
    let world = World::new();
    let key = world.authority_key();
    world.page("/old", move |question| {
        let question = OcspRequest::from_der(question).unwrap();
        let day = |days| at(SystemTime::now() - days * DAY);
        let single = SingleResponse {
            cert_id: question.tbs_request.request_list[0].req_cert.clone(),
            cert_status: good(),
            this_update: day(2),
            next_update: Some(day(1)),
            single_extensions: None,
        };
        (StatusCode::OK, answer(single, &*key, &[]))
    });
    let key = world.authority_key();
    world.page("/other", move |question| {
        let question = OcspRequest::from_der(question).unwrap();
        let mut asked = question.tbs_request.request_list[0].req_cert.clone();
        asked.serial_number = x509_cert::serial_number::SerialNumber::new(&[99]).unwrap();
        let single = SingleResponse {
            cert_id: asked,
            cert_status: good(),
            this_update: at(SystemTime::now()),
            next_update: None,
            single_extensions: None,
        };
        (StatusCode::OK, answer(single, &*key, &[]))
    });
    let check = world.check(|_| {});
    assert_refused(
        ask(&check, &world.leaf(1, None, Some("/old"))).await,
        "is out of date",
    );
    assert_refused(
        ask(&check, &world.leaf(1, None, Some("/other"))).await,
        "is about other certificates",
    );
}

#[tokio::test]
async fn an_answer_beyond_the_limit_or_too_late_is_none() {
    let world = World::new();
    world.bytes("/large", vec![0; 100_000]);
    let check = world.check(|_| {});
    assert_refused(
        ask(&check, &world.leaf(1, None, Some("/large"))).await,
        "length limit exceeded",
    );
    // A responder that accepts and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    params.custom_extensions = vec![authority_information(&url)];
    let key = KeyPair::generate().unwrap();
    let leaf = params
        .signed_by(&key, &world.authority)
        .unwrap()
        .der()
        .clone();
    let check = world.check(|config| {
        let mut ocsp = config.ocsp.take().unwrap();
        ocsp.timeout = Duration::from_secs(1);
        config.ocsp = Some(ocsp);
    });
    assert_refused(ask(&check, &leaf).await, "took too long");
}
