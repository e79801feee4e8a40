//! Keys of a MinIO that may do less than the tests' own, made by its admin API: a signed request
//! whose body is encrypted with the secret of who asks (madmin's `EncryptData`).

use std::num::NonZeroU32;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::pbkdf2::{PBKDF2_HMAC_SHA256, derive};
use serde_json::{Value, json};

use super::curl::curl;
use super::minio::Minio;
use super::text::sha256;

/// The iterations, the algorithm's number (PBKDF2 with AES-256-GCM), and what marks the last piece.
const COST: NonZeroU32 = NonZeroU32::new(8192).unwrap();
const PBKDF2_AES_GCM: u8 = 2;
const LAST: u8 = 0x80;

impl Minio {
    /// A new key and its secret, which may do what the statements allow.
    pub async fn restricted_key(&self, statements: &Value) -> (String, String) {
        let name = uuid::Uuid::now_v7().simple().to_string();
        let (key, secret) = (name[12..].to_owned(), format!("secret-{name}"));
        let policy = json!({ "Version": "2012-10-17", "Statement": statements });
        let asked = json!({ "accessKey": key, "secretKey": secret, "policy": policy });
        let folder = tempfile::tempdir().unwrap();
        let body = encrypted(&self.secret_key, asked.to_string().as_bytes());
        std::fs::write(folder.path().join("body"), &body).unwrap();
        // Not every curl sends and signs it by itself.
        let hash = format!("x-amz-content-sha256: {}", sha256(&body));
        let url = format!("{}/minio/admin/v3/add-service-account", self.endpoint);
        let user = format!("{}:{}", self.access_key, self.secret_key);
        let signing = ["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &user];
        let sending = ["--request", "PUT", "--header", &hash, "--data-binary", "@body", &url];
        let outcome = curl(folder.path(), &[&signing[..], &sending[..]].concat()).await;
        assert_eq!(outcome.status, 200, "{}", outcome.body);
        (key, secret)
    }
}

/// Salt, algorithm, nonce, and one piece, which is bound to a tag of nothing.
fn encrypted(password: &str, bytes: &[u8]) -> Vec<u8> {
    let (salt, nonce) = ([7; 32], [7; 8]);
    let mut key = [0; 32];
    derive(PBKDF2_HMAC_SHA256, COST, &salt, password.as_bytes(), &mut key);
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
    let numbered = |number: u32| {
        let bytes = [&nonce[..], &number.to_le_bytes()].concat();
        Nonce::try_assume_unique_for_key(&bytes).unwrap()
    };
    let bound = key.seal_in_place_separate_tag(numbered(0), Aad::empty(), &mut []).unwrap();
    let bound = [&[LAST], bound.as_ref()].concat();
    let mut piece = bytes.to_vec();
    key.seal_in_place_append_tag(numbered(1), Aad::from(bound), &mut piece).unwrap();
    [&salt[..], &[PBKDF2_AES_GCM], &nonce, &piece].concat()
}
