//! `services.*.ca_file`: certificates that are read along with the settings. So a file that cannot be
//! used stops the start, and one whose certificates have changed is a changed setting.

use std::path::PathBuf;

use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde::{Deserialize, Serialize};

/// A PEM file of certificate authorities, with at least one certificate.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "PathBuf", into = "PathBuf")]
pub struct CaFile {
    path: PathBuf,
    certificates: Vec<CertificateDer<'static>>,
}

impl CaFile {
    /// The file's certificates, in its order.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }
}

impl TryFrom<PathBuf> for CaFile {
    type Error = String;

    /// Reads the file. What else it holds, such as a key, is passed over.
    fn try_from(path: PathBuf) -> Result<Self, String> {
        let wrong = |what: &str| {
            let remedy = "name a PEM file of certificates that this user may read";
            format!("names {}, which {what}; {remedy}", path.display())
        };
        let pem =
            std::fs::read(&path).map_err(|error| wrong(&format!("cannot be read ({error})")))?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|_| wrong("is not PEM"))?;
        if certificates.is_empty() {
            return Err(wrong("holds no certificate"));
        }
        Ok(Self { path, certificates })
    }
}

impl From<CaFile> for PathBuf {
    fn from(file: CaFile) -> Self {
        file.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the file comes to: how many certificates, or what is wrong.
    fn read(text: &[u8]) -> Result<usize, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, text).unwrap();
        CaFile::try_from(path).map(|file| file.certificates().len())
    }

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";

    #[test]
    fn all_certificates_are_read_and_nothing_else() {
        assert_eq!(read(CERTIFICATE.as_bytes()), Ok(1));
        let bundle = format!("# ours\n{CERTIFICATE}{KEY}\r\n{CERTIFICATE}");
        assert_eq!(read(bundle.as_bytes()), Ok(2));
    }

    #[test]
    fn a_file_without_a_whole_certificate_is_refused() {
        let cut = CERTIFICATE.split_at(40).0;
        let spoilt = CERTIFICATE.replace("MAA=", "M*A=");
        let cases: [(&[u8], &str); 6] = [
            (b"", "holds no certificate"),
            (b"hello", "holds no certificate"),
            (KEY.as_bytes(), "holds no certificate"),
            (b"\xff\x00\xfe", "holds no certificate"),
            (cut.as_bytes(), "is not PEM"),
            (spoilt.as_bytes(), "is not PEM"),
        ];
        for (text, reason) in cases {
            let error = read(text).unwrap_err();
            assert!(error.contains("ca.pem, which ") && error.contains(reason), "{error}");
        }
        let error = CaFile::try_from(PathBuf::from("no-such-file.pem")).unwrap_err();
        assert!(error.contains("no-such-file.pem, which cannot be read ("), "{error}");
    }
}
