//! A service of one's own that scores too: its routes beside those of the server, on one port.
//!
//! ```text
//! cargo run --release --example embed_axum -- out/train
//! curl -d '{"rows": [{"user": 7, "item": 21}]}' http://127.0.0.1:3000/v1/score
//! ```

use axum::Router;
use axum::routing::get;
use stem_core::DeviceSpec;
use stem_serve::{ServeConfig, Server};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bundle = std::env::args().nth(1).ok_or("name a bundle, or the folder of a run")?;
    let address = std::env::args().nth(2).unwrap_or("127.0.0.1:3000".into()).parse()?;
    let own = Router::new().route("/hello", get(|| async { "hello\n" }));
    let server = Server::open(bundle, ServeConfig::default(), &DeviceSpec::default().open()?)?.with_routes(own);
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = stem_serve::listen(address).await?;
        println!("listening on http://{}", listener.local_addr()?);
        server.run(listener, std::future::pending()).await?; // until it is killed
        Ok(())
    })
}
