//! The SDK's client for one bucket, set up at the first request: profiles are read then, and credentials looked for.

use super::settings::Settings;
use super::transport::Transport;
use crate::error::Result;
use crate::store::http::{Clock, Http};
use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedCredentialsProvider,
};
use std::sync::Arc;

/// Sets the client up. Waits for nobody but this machine's files.
///
/// [`crate::error::Kind::Invalid`] for settings of the environment that make no sense.
pub async fn connect(settings: &Settings, clock: Arc<Clock>) -> Result<Client> {
    let mut http = Http::new()?.without_redirects();
    if let Some(attempts) = settings.attempts {
        http = http.with_attempts(attempts);
    }
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(Transport::new(http, clock))
        .region(Region::new(settings.region.clone()))
        // Trying again and giving up are for the transport, which does it for all backends alike.
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(keys) = settings.keys.clone() {
        let keys = Credentials::new(keys.id, keys.secret, keys.session, None, "location");
        loader = loader.credentials_provider(SharedCredentialsProvider::new(keys));
    }
    let shared = loader.load().await;
    let mut config = Builder::from(&shared)
        .force_path_style(settings.path_style)
        // Digests say more than S3's checksums do, and other servers lack these.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = &settings.endpoint {
        config = config.endpoint_url(endpoint.as_str().trim_end_matches('/'));
    }
    Ok(Client::from_conf(config.build()))
}
