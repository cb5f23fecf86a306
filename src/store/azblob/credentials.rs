//! Who asks, where neither a key nor a shared access signature is given: Entra ID, found as Azure's own tools find it.

use super::transport::Refusal;
use crate::error::{Error, Kind};
use async_trait::async_trait;
use azure_core::HttpClient;
use azure_core::auth::{AccessToken, TokenCredential};
use azure_core::error::ErrorKind;
use azure_identity::{
    AppServiceManagedIdentityCredential, AzureCliCredential, EnvironmentCredential, TokenCredentialOptions,
    VirtualMachineManagedIdentityCredential,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;

/// How long each may take: off Azure nobody answers at the address of virtual machines, and `az` is slow.
const PATIENCE: [Duration; 4] =
    [Duration::from_secs(60), Duration::from_secs(10), Duration::from_secs(1), Duration::from_secs(30)];

/// The credentials of the environment, tried in turn when the first token is wanted; the one that has it is kept.
#[derive(Debug)]
pub(super) struct Chain {
    client: Arc<dyn HttpClient>,
    found: OnceCell<Arc<dyn TokenCredential>>,
}

/// A credential to ask for a token, or why there is none.
type Source = Result<Arc<dyn TokenCredential>, &'static str>;

impl Chain {
    pub(super) fn new(client: Arc<dyn HttpClient>) -> Self {
        Self { client, found: OnceCell::new() }
    }

    async fn find(&self, scopes: &[&str]) -> azure_core::Result<Arc<dyn TokenCredential>> {
        let options = TokenCredentialOptions::from(self.client.clone());
        let app_service = AppServiceManagedIdentityCredential::create(options.clone());
        let environment = EnvironmentCredential::create(options.clone());
        let sources: [(&str, Source); 4] = [
            (
                "environment",
                environment.map(shared).map_err(|_| {
                    "AZURE_TENANT_ID, AZURE_CLIENT_ID and either AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE are not set"
                }),
            ),
            ("App Service", app_service.map(shared).map_err(|_| "IDENTITY_ENDPOINT is not set")),
            ("managed identity", Ok(shared(VirtualMachineManagedIdentityCredential::new(options)))),
            ("Azure CLI", Ok(shared(AzureCliCredential::new()))),
        ];
        let mut tried = Vec::new();
        for ((name, source), patience) in sources.into_iter().zip(PATIENCE) {
            let why = match source {
                Ok(credential) => match tokio::time::timeout(patience, credential.get_token(scopes)).await {
                    Ok(Ok(_)) => return Ok(credential),
                    Ok(Err(error)) => reason(&error),
                    Err(_) => "no answer".to_owned(),
                },
                Err(why) => why.to_owned(),
            };
            tried.push(format!("{name}: {why}"));
        }
        let error = Error::new(Kind::Unauthenticated, format!("no Azure credentials; {}", tried.join("; "))).with_hint(
            "sign in with `az login`, set those variables, or give secret_access_key or a SAS in account_url",
        );
        Err(azure_core::Error::new(ErrorKind::Credential, error))
    }
}

fn shared(credential: impl TokenCredential + 'static) -> Arc<dyn TokenCredential> {
    Arc::new(credential)
}

/// Why there was no token, in words of ours: what servers and programs say may repeat what they were given.
fn reason(error: &azure_core::Error) -> String {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(refusal) = error.downcast_ref::<Refusal>() {
            return refusal.to_string();
        }
        if let Some(error) = error.downcast_ref::<Error>() {
            return error.what().to_owned();
        }
        cause = error.source();
    }
    match error.to_string() {
        told if told == "Azure CLI not installed" => "not installed".to_owned(),
        told if told.starts_with("'az account") => "`az account get-access-token` failed".to_owned(),
        _ => "no token".to_owned(),
    }
}

#[async_trait]
impl TokenCredential for Chain {
    async fn get_token(&self, scopes: &[&str]) -> azure_core::Result<AccessToken> {
        let found = self.found.get_or_try_init(|| self.find(scopes)).await?;
        found.get_token(scopes).await
    }

    async fn clear_cache(&self) -> azure_core::Result<()> {
        match self.found.get() {
            Some(found) => found.clear_cache().await,
            None => Ok(()),
        }
    }
}
