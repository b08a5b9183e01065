//! Compresses an answer while it streams.

use std::pin::Pin;
use std::task::{Context, Poll};

use async_compression::Level;
use async_compression::tokio::write::GzipEncoder;
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, VARY};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use tokio::io::AsyncWrite as _;

use super::body::Body;
use super::error::BodyError;

/// Smaller bodies are not worth it.
const LEAST: u64 = 1024;
/// What is passed on in one piece, about.
const CHUNK: usize = 32 * 1024;

/// Compresses the answer at the fastest level, unless it is small, or encoded already.
pub(super) fn compress(response: http::Response<Body>) -> http::Response<Body> {
    let small = response.body().size_hint().upper().is_some_and(|upper| upper < LEAST);
    if small || response.headers().contains_key(CONTENT_ENCODING) || !response.status().is_success() {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    let encoder = GzipEncoder::with_quality(Vec::new(), Level::Fastest);
    http::Response::from_parts(parts, Gzip { body, encoder, state: State::Clean }.boxed_unsync())
}

/// A body, compressed. What the encoder holds back is flushed whenever the source has nothing more for now,
/// so that a client that waits has all there is.
struct Gzip {
    body: Body,
    encoder: GzipEncoder<Vec<u8>>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// All that came is passed on.
    Clean,
    /// Something is in the encoder.
    Dirty,
    /// The trailer is written.
    Ended,
}

impl Gzip {
    /// What came out of the encoder.
    fn take(&mut self) -> Option<Frame<Bytes>> {
        let out = self.encoder.get_mut();
        (!out.is_empty()).then(|| Frame::data(Bytes::from(std::mem::take(out))))
    }

    fn write(&mut self, context: &mut Context<'_>, mut data: &[u8]) -> Result<(), BodyError> {
        while !data.is_empty() {
            let written = done(Pin::new(&mut self.encoder).poll_write(context, data))?;
            data = &data[written..];
            self.state = State::Dirty;
        }
        Ok(())
    }
}

/// The encoder writes into memory and so is always ready.
fn done<T>(result: Poll<std::io::Result<T>>) -> Result<T, BodyError> {
    match result {
        Poll::Ready(result) => result.map_err(BodyError::Compress),
        Poll::Pending => Err(BodyError::Compress(std::io::ErrorKind::WouldBlock.into())),
    }
}

impl http_body::Body for Gzip {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            if this.state == State::Ended {
                return Poll::Ready(None);
            }
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(frame)) => {
                    let Ok(data) = frame?.into_data() else { continue };
                    this.write(context, &data)?;
                    if this.encoder.get_ref().len() >= CHUNK {
                        return Poll::Ready(this.take().map(Ok));
                    }
                }
                Poll::Ready(None) => {
                    done(Pin::new(&mut this.encoder).poll_shutdown(context))?;
                    this.state = State::Ended;
                    return Poll::Ready(this.take().map(Ok));
                }
                Poll::Pending if this.state == State::Dirty => {
                    done(Pin::new(&mut this.encoder).poll_flush(context))?;
                    this.state = State::Clean;
                    if let Some(frame) = this.take() {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                    return Poll::Pending;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Ended
    }
}

#[cfg(test)]
mod tests {
    use super::super::body::whole;
    use super::*;
    use async_compression::tokio::write::GzipDecoder;
    use futures_util::StreamExt as _;
    use http_body_util::StreamBody;
    use tokio::io::AsyncWriteExt as _;

    async fn unzip(compressed: &[u8]) -> Vec<u8> {
        let mut decoder = GzipDecoder::new(Vec::new());
        decoder.write_all(compressed).await.expect("gzip");
        decoder.flush().await.expect("gzip");
        decoder.into_inner()
    }

    fn rows(count: usize) -> Vec<u8> {
        (0..count).flat_map(|row| format!("[{row},\"name {row}\"],").into_bytes()).collect()
    }

    #[tokio::test]
    async fn what_goes_in_comes_out() {
        for size in [200, 20_000, 200_000] {
            let text = rows(size);
            let response = compress(http::Response::new(whole(text.clone())));
            assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
            let compressed = response.into_body().collect().await.expect("a body").to_bytes();
            assert!(compressed.len() < text.len());
            assert!(unzip(&compressed).await == text, "{size} rows");
        }
    }

    #[tokio::test]
    async fn small_encoded_and_failed_answers_stay() {
        let check = |response: http::Response<Body>| {
            let before = response.headers().clone();
            assert_eq!(*compress(response).headers(), before);
        };
        check(http::Response::new(whole("x".repeat(1000))));
        let mut encoded = http::Response::new(whole(rows(1000)));
        encoded.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("zstd"));
        check(encoded);
        let mut failed = http::Response::new(whole(rows(1000)));
        *failed.status_mut() = http::StatusCode::NOT_FOUND;
        check(failed);
    }

    #[tokio::test]
    async fn what_came_is_passed_on_while_the_source_waits() {
        let text = rows(100);
        let first = futures_util::stream::iter([Ok(Frame::data(Bytes::from(text.clone())))]);
        let endless = StreamBody::new(first.chain(futures_util::stream::pending()));
        let mut body = compress(http::Response::new(endless.boxed_unsync())).into_body();
        let frame = body.frame().await.expect("a frame").expect("no error").into_data().expect("data");
        assert!(unzip(&frame).await == text, "all of it, though there is no end yet");
    }

    #[tokio::test]
    async fn an_error_breaks_the_answer_off() {
        let frames = [Ok(Frame::data(Bytes::from(rows(100)))), Err(BodyError::Source("cut".into()))];
        let broken = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
        assert!(compress(http::Response::new(broken)).into_body().collect().await.is_err());
    }
}
