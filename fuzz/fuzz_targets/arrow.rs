//! Any bytes as an Arrow stream, to each of the routes that read rows.
#![no_main]

use std::cell::OnceCell;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use libfuzzer_sys::fuzz_target;
use stem_core::DeviceSpec;
use stem_serve::{ServeConfig, Server};
use tokio::runtime::Runtime;
use tower::ServiceExt;

thread_local! {
    static SERVED: OnceCell<(Runtime, Server, Router)> = const { OnceCell::new() };
}

/// arrow-rs panics on some schemas that no writer makes, and the server refuses the request: a panic of its is none of ours.
fn pass_over_panics_of_arrow() {
    let fail = std::panic::take_hook(); // of the fuzzer: it ends the process
    std::panic::set_hook(Box::new(move |panic| {
        let is_of_arrow = panic.location().is_some_and(|at| at.file().contains("/arrow-") || at.file().contains("/flatbuffers-"));
        if !is_of_arrow {
            fail(panic);
        }
    }));
}

fn serve() -> (Runtime, Server, Router) {
    pass_over_panics_of_arrow();
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/stem-core/tests/samples/bundle-v2.safetensors");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let device = DeviceSpec::default().open().expect("flex is always there");
    let server = Server::open(sample, ServeConfig::default(), &device).expect("the sample is served");
    let router = server.router();
    (runtime, server, router)
}

fuzz_target!(|bytes: &[u8]| {
    SERVED.with(|served| {
        let (runtime, _, router) = served.get_or_init(serve);
        for route in ["/v1/score", "/v1/rank", "/v1/explain"] {
            let request = Request::post(route).header("content-type", "application/vnd.apache.arrow.stream").body(Body::from(bytes.to_vec())).expect("a request");
            let status = runtime.block_on(async {
                let response = router.clone().oneshot(request).await.expect("routers answer");
                let status = response.status();
                response.into_body().collect().await.expect("answers are whole");
                status
            });
            assert_ne!(status.as_u16(), 500, "{route}");
        }
    });
});
