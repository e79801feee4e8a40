//! Signatures, verified by Standard Webhooks' own libraries.

use super::*;
use crate::harness::scripts::Script;

/// What a library is to verify.
fn job(request: &Recorded, secret: &str) -> Value {
    let fields = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers = fields.map(|name| (name, request.header(name).expect(name)));
    json!({
        "secret": secret, "headers": std::collections::BTreeMap::from(headers),
        "body": String::from_utf8(request.body.clone()).unwrap(),
    })
}

/// Fails unless both libraries find that the request was signed by this secret.
pub fn assert_verified(verifiers: &mut [Script; 2], request: &Recorded, secret: &str) {
    for verifier in verifiers {
        let verified = verifier.run(&job(request, secret));
        assert_eq!(verified["told"], told(request), "{verified}");
    }
}

fn assert_refused(verifiers: &mut [Script; 2], job: &Value) {
    for verifier in verifiers {
        let refused = verifier.run(job);
        assert!(refused["error"].is_string(), "{job}");
    }
}

#[tokio::test]
async fn signatures_verify_and_both_secrets_sign_after_a_rotation() {
    for app in both().await {
        let mut verifiers = Script::verifiers();
        let receiver = Upstream::answering(NO_CONTENT).await;
        let hook = Hook::at(&app, &receiver.url("/")).await;
        upload(&app, "acme", "%C3%BC%20%E2%98%83.gif").await;
        done(&app, "POST", &hook.path("/test"), None).await;
        for request in receiver.received(2).await {
            assert_verified(&mut verifiers, &request, &hook.secret);
            let mut changed = job(&request, &hook.secret);
            changed["body"] = json!("{}");
            assert_refused(&mut verifiers, &changed);
            assert_refused(
                &mut verifiers,
                &job(&request, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            );
        }
        let rotated = call(&app, "POST", &hook.path("/rotate-secret"), None).await;
        assert_eq!(rotated.header("cache-control").as_deref(), Some("no-store"));
        let rotated = rotated.json();
        let new = rotated["secret"].as_str().unwrap();
        assert_ne!(new, hook.secret);
        assert!(rotated["previousSecretUntil"].is_string());
        done(&app, "POST", &hook.path("/test"), None).await;
        let request = receiver.received(3).await.remove(2);
        assert_eq!(request.header("webhook-signature").unwrap().split(' ').count(), 2);
        for secret in [new, &hook.secret] {
            assert_verified(&mut verifiers, &request, secret);
        }
        // After a day the old one signs no more.
        let sql = "UPDATE webhooks SET previous_until = 1 WHERE previous_until IS NOT NULL";
        change(&app, sql).await;
        done(&app, "POST", &hook.path("/test"), None).await;
        let request = receiver.received(4).await.remove(3);
        assert_verified(&mut verifiers, &request, new);
        assert_refused(&mut verifiers, &job(&request, &hook.secret));

        // Secrets are told when they are made, and never again.
        for path in [String::new(), hook.path(""), hook.path("/deliveries")] {
            let text = done(&app, "GET", &path, None).await.to_string();
            assert!(!text.contains("whsec_"), "{text}");
        }
        let changed = done(&app, "PATCH", &hook.path(""), Some(&json!({}))).await;
        assert!(changed.get("secret").is_none());
        for secret in [new, &hook.secret] {
            let bare = secret.strip_prefix("whsec_").unwrap();
            assert!(!app.log_text().contains(bare), "a secret is in the log");
        }
    }
}
