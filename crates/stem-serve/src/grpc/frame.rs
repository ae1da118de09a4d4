//! What is around a message: gRPC's five bytes before it, the status behind it, and how much of it there may be.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use hyper::body::{Bytes, Frame};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::body;
use crate::refusal::Refusal;

/// Whether the message is compressed, a byte, and its length, four.
const HEAD: usize = 5;

/// Tensors, outputs and parameters that a message may have in all: with nothing in it each takes two bytes on its way and about 150 in memory.
pub(super) const PARTS: usize = 4096;

/// The one message of a request's body.
///
/// # Errors
/// A body that is too large, too slow or cut, and one that is not one message as it is.
pub(super) async fn read(headers: &HeaderMap, from: Body, limit: usize, within: Duration) -> Result<Bytes, Refusal> {
    let framed = body::read_all(headers, from, limit.saturating_add(HEAD), within).await;
    let framed = framed.map_err(|refusal| match refusal {
        Refusal::TooLarge { .. } => Refusal::TooLarge { limit },
        other => other,
    })?;
    let no_message = |what: &str| Refusal::Body { what: what.into() };
    let (head, message) = framed.split_first_chunk::<HEAD>().ok_or_else(|| no_message("it ends before a message"))?;
    let [compressed, length @ ..] = *head;
    if compressed != 0 {
        return Err(no_message("its message is compressed: send it as it is"));
    }
    let length = u32::from_be_bytes(length) as usize;
    if length != message.len() {
        let there = message.len();
        return Err(no_message(&format!("one message of {length} bytes is told, {there} bytes follow")));
    }
    Ok(Bytes::from(framed).slice(HEAD..))
}

/// Refuses a request for scores of more parts than one has.
pub(super) fn check_parts(message: &[u8]) -> Result<(), Refusal> {
    let mut parts = 0usize;
    each_field(message, |tag, field| {
        let parameters = match tag {
            5 => 4, // of an input
            6 => 2, // of an output
            4 | 7 => 0,
            _ => return,
        };
        parts += 1;
        each_field(field, |tag, _| parts += usize::from(tag == parameters));
    });
    match parts <= PARTS {
        true => Ok(()),
        false => Err(Refusal::Setting {
            key: "inputs, outputs and parameters".into(),
            found: parts.to_string(),
            expected: format!("at most {PARTS} in all"),
        }),
    }
}

/// Gives tag and bytes of each field that has a length, up to where a message does not read.
fn each_field(mut message: &[u8], mut take: impl FnMut(u32, &[u8])) {
    while let Ok((tag, wire)) = decode_key(&mut message) {
        if wire != WireType::LengthDelimited {
            match skip_field(wire, tag, &mut message, DecodeContext::default()) {
                Ok(()) => continue,
                Err(_) => return,
            }
        }
        let length = decode_varint(&mut message).ok().and_then(|length| usize::try_from(length).ok());
        let Some((field, rest)) = length.and_then(|length| message.split_at_checked(length)) else { return };
        take(tag, field);
        message = rest;
    }
}

/// A message as an answer.
pub(super) fn response(message: &impl Message) -> Response {
    let length = message.encoded_len();
    let mut framed = Vec::with_capacity(HEAD + length);
    framed.push(0);
    framed.extend_from_slice(&(length as u32).to_be_bytes()); // of no more rows than a request may have
    message.encode_raw(&mut framed);
    let well = HeaderMap::from_iter([("grpc-status".parse().expect("a name"), HeaderValue::from_static("0"))]);
    let frames = vec![Frame::data(Bytes::from(framed)), Frame::trailers(well)];
    let mut response = Response::new(Body::new(Frames(frames.into_iter())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The frames of a body that is there.
struct Frames(vec::IntoIter<Frame<Bytes>>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_slice().is_empty()
    }
}
