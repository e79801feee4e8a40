//! Authentication: from a request's credential to its principal.
//!
//! It knows credentials and keys, nothing of services and tenants' headers: those are
//! [`super::checks`]' to compare. A verdict comes at once wherever nothing has to be fetched.

mod api_keys;
mod credential;
mod guesses;
mod jwt;
mod refusal;
mod settings;

use std::{net::IpAddr, sync::Arc};

use actix_web::http::header::HeaderMap;
use futures_util::future::LocalBoxFuture;

pub use self::{
    api_keys::{ApiKey, KeyRecord, KeyStore},
    credential::API_KEY,
    guesses::Guesses,
    refusal::Refusal,
    settings::{AuthMode, AuthSettings, JwtSettings},
};
use self::{
    api_keys::{ApiKeys, KeyHash},
    credential::Credential,
    jwt::{Checked, Tokens},
};
use crate::{database::Database, settings::Invalid, tenant::Principal};

/// What verifies credentials. Shared by all workers.
#[derive(Clone, Debug)]
pub struct Authenticator(Arc<Verifiers>);

#[derive(Debug)]
struct Verifiers {
    tokens: Option<Tokens>,
    keys: Option<ApiKeys>,
    guesses: Option<Guesses>,
}

/// What is known of a request's credential.
pub enum Verdict {
    /// All of it.
    Known(Result<Principal, Refusal>),
    /// What it is checked with has to be fetched first.
    Asking(LocalBoxFuture<'static, Result<Principal, Refusal>>),
}

impl Authenticator {
    /// What verifies credentials by these settings, and API keys of this database; none in open
    /// mode. `guesses` limits how many may be wrong. It takes a runtime around it.
    ///
    /// # Errors
    /// The setting that is wrong.
    pub fn new(
        settings: &AuthSettings,
        database: Option<Database>,
        guesses: Option<Guesses>,
    ) -> Result<Option<Self>, Invalid> {
        if settings.mode == AuthMode::Open {
            return Ok(None);
        }
        let tokens = settings.jwt.as_ref().map(Tokens::new).transpose()?;
        let keys = database.map(|database| ApiKeys::new(KeyStore::new(database)));
        Ok(Some(Self(Arc::new(Verifiers { tokens, keys, guesses }))))
    }

    /// Verifies the credential of a request with these fields, which comes from `client`.
    pub fn check(&self, headers: &HeaderMap, client: Option<IpAddr>) -> Verdict {
        match Credential::of(headers) {
            Ok(Credential::Bearer(key)) if key.starts_with(api_keys::PREFIX) => {
                self.check_key(key, client)
            }
            Ok(Credential::Bearer(token)) => self.check_token(token, client),
            Ok(Credential::ApiKey(key)) => self.check_key(key, client),
            Err(refusal) => self.known(Err(refusal), client),
        }
    }

    fn check_key(&self, key: &str, client: Option<IpAddr>) -> Verdict {
        let (Some(keys), Some(hash)) = (&self.0.keys, KeyHash::of_presented(key)) else {
            return self.known(Err(Refusal::UnknownApiKey), client);
        };
        if let Some(outcome) = keys.remembered(&hash) {
            return self.known(outcome, client);
        }
        if let Some(refusal) = self.refuse_to_look(client) {
            return Verdict::Known(Err(refusal));
        }
        let (authenticator, keys) = (self.clone(), keys.clone());
        Verdict::Asking(Box::pin(async move {
            let outcome = keys.check(hash).await;
            authenticator.counted(outcome, client)
        }))
    }

    fn check_token(&self, token: &str, client: Option<IpAddr>) -> Verdict {
        let Some(tokens) = &self.0.tokens else {
            return self.known(Err(Refusal::Malformed), client);
        };
        if let Some(principal) = tokens.remembered(token) {
            return Verdict::Known(Ok(principal));
        }
        if let Some(refusal) = self.refuse_to_look(client) {
            return Verdict::Known(Err(refusal));
        }
        match tokens.check(token) {
            Checked::Known(outcome) => self.known(outcome, client),
            Checked::KeyMissing(seen) => {
                let (authenticator, token) = (self.clone(), token.to_owned());
                Verdict::Asking(Box::pin(async move {
                    let outcome = match &authenticator.0.tokens {
                        Some(tokens) => tokens.check_later(&token, seen.as_ref()).await,
                        None => Err(Refusal::Malformed),
                    };
                    authenticator.counted(outcome, client)
                }))
            }
        }
    }

    fn known(&self, outcome: Result<Principal, Refusal>, client: Option<IpAddr>) -> Verdict {
        Verdict::Known(self.counted(outcome, client))
    }

    /// Why a credential of this client's is not looked at, if it has sent too many wrong ones.
    fn refuse_to_look(&self, client: Option<IpAddr>) -> Option<Refusal> {
        let wait = self.0.guesses.as_ref()?.wait(client?)?;
        Some(Refusal::TooOften(wait))
    }

    /// The outcome; a wrong credential counts against its client.
    fn counted(
        &self,
        outcome: Result<Principal, Refusal>,
        client: Option<IpAddr>,
    ) -> Result<Principal, Refusal> {
        match (&outcome, &self.0.guesses, client) {
            (Err(refusal), Some(guesses), Some(client)) if refusal.is_failure() => {
                match guesses.failed(client) {
                    Some(wait) => Err(Refusal::TooOften(wait)),
                    None => outcome,
                }
            }
            _ => outcome,
        }
    }
}
