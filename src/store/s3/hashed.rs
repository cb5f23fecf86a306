//! Bodies that were hashed before they are sent. A blob's digest is what S3 signs of its bytes, so that they need not be hashed
//! again; a server that checks it takes nothing but that blob.

use crate::model::digest::Digest;
use aws_runtime::auth::SigV4OperationSigningConfig;
use aws_sigv4::http_request::SignableBody;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextMut;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

/// Signs a request whose body is this blob.
#[derive(Debug)]
pub struct Hashed(pub Digest);

impl Intercept for Hashed {
    fn name(&self) -> &'static str {
        "Hashed"
    }

    fn modify_before_signing(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let signing = config.load::<SigV4OperationSigningConfig>().cloned();
        if let Some(mut signing) = signing {
            signing.signing_options.payload_override = Some(SignableBody::Precomputed(self.0.hex().to_string()));
            config.interceptor_state().store_put(signing);
        }
        Ok(())
    }
}
