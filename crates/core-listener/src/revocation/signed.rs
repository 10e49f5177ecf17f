//! Structures of the form "content, algorithm, signature": certificates, lists and OCSP answers.

use der::asn1::{AnyRef, BitStringRef};
use der::{Decode, Reader, SliceReader};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::SignatureVerificationAlgorithm;

/// The parts of a signed structure, in DER.
pub(super) struct Signed<'a> {
    content: &'a [u8],
    /// What is inside the `AlgorithmIdentifier`.
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Cuts a structure into its parts; more may follow the signature.
    pub(super) fn split(der: &'a [u8]) -> der::Result<Self> {
        let outer = AnyRef::from_der(der)?;
        let mut reader = SliceReader::new(outer.value())?;
        let content = reader.tlv_bytes()?;
        let algorithm = AnyRef::from_der(reader.tlv_bytes()?)?.value();
        let signature = BitStringRef::from_der(reader.tlv_bytes()?)?;
        Ok(Self {
            content,
            algorithm,
            signature: signature.raw_bytes(),
        })
    }

    /// Whether the signature is one of this key (`SubjectPublicKeyInfo` in DER), by any algorithm that TLS
    /// would accept from a certificate.
    pub(super) fn is_signed_by(&self, public_key: &[u8]) -> bool {
        let Ok((kind, key)) = split_key(public_key) else {
            return false;
        };
        let provider = aws_lc_rs::default_provider();
        let fits = |algorithm: &&&dyn SignatureVerificationAlgorithm| {
            algorithm.signature_alg_id().as_ref() == self.algorithm
                && algorithm.public_key_alg_id().as_ref() == kind
        };
        provider
            .signature_verification_algorithms
            .all
            .iter()
            .filter(fits)
            .any(|algorithm| {
                algorithm
                    .verify_signature(key, self.content, self.signature)
                    .is_ok()
            })
    }
}

/// The kind of a key and the key.
pub(super) fn split_key(public_key: &[u8]) -> der::Result<(&[u8], &[u8])> {
    let outer = AnyRef::from_der(public_key)?;
    let mut reader = SliceReader::new(outer.value())?;
    let kind = AnyRef::from_der(reader.tlv_bytes()?)?.value();
    let key = BitStringRef::from_der(reader.tlv_bytes()?)?;
    Ok((kind, key.raw_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::parse_x509_certificate;

    #[test]
    fn a_certificate_is_signed_by_its_issuer_alone() {
        let key = || rcgen::KeyPair::generate().unwrap();
        let params = || rcgen::CertificateParams::new(Vec::new()).unwrap();
        let issuer = rcgen::CertifiedIssuer::self_signed(params(), key()).unwrap();
        let other = rcgen::CertifiedIssuer::self_signed(params(), key()).unwrap();
        let leaf = params().signed_by(&key(), &issuer).unwrap();
        let signed = Signed::split(leaf.der()).unwrap();
        for (certificate, expected) in [(issuer.der(), true), (other.der(), false)] {
            let (_, certificate) = parse_x509_certificate(certificate).unwrap();
            assert_eq!(signed.is_signed_by(certificate.public_key().raw), expected);
        }
        assert!(!signed.is_signed_by(b"no key"));
    }

    #[test]
    fn what_is_cut_short_is_an_error() {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        for length in 0..certificate.der().len() {
            assert!(Signed::split(&certificate.der()[..length]).is_err());
        }
    }
}
