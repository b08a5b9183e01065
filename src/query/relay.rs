//! A page on its way from Trino to the client: rebuilt while it streams, never held whole.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use crate::wire::{PageError, PageRebuilder, PageSummary};

/// A page up to this size is answered whole, with its length; a longer one is streamed. Bytes.
const WHOLE: usize = 64 << 10;

/// Why a page stopped short.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// Trino's connection broke in the middle of a page.
    #[error("the cluster's connection broke in the middle of a page: {0}")]
    Broken(String),
    /// What Trino sent is not a page.
    #[error("the cluster sent something that is not a page: {0}")]
    Garbage(#[from] PageError),
    /// The audit could not be read to its end.
    #[error("the audit cannot be read to its end")]
    Audit,
}

/// A page that its client did not get to its end.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) error: RelayError,
    /// Rows that were handed on before.
    pub(super) rows: u64,
    /// Their bytes.
    pub(super) bytes: u64,
}

/// What came of a page, told once: when its last byte has been handed on, or nobody wants the rest.
pub(super) type Told = Box<dyn FnOnce(Result<PageSummary, Cut>) + Send>;

/// The beginning of a page, and the rest of it.
pub(super) enum Relayed<B> {
    /// The whole page, and the name of the error in it.
    Whole(Bytes, Option<String>),
    /// A long page, which is still coming.
    Streaming(Box<PageBody<B>>),
}

/// Reads the beginning of a page. An error here means that nothing has been sent to the client yet.
pub(super) async fn relay<B>(
    mut upstream: B,
    mut rebuilder: PageRebuilder,
    told: Told,
) -> Result<Relayed<B>, RelayError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut ready = Vec::new();
    loop {
        match upstream.frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    rebuilder.push(&data, &mut ready)?;
                }
            }
            Some(Err(error)) => return Err(RelayError::Broken(error.to_string())),
            None => {
                let summary = rebuilder.finish(&mut ready)?;
                let error = summary.error.as_ref().map(|error| error.name.clone());
                told(Ok(summary));
                return Ok(Relayed::Whole(joined(ready), error));
            }
        }
        if ready.iter().map(Bytes::len).sum::<usize>() >= WHOLE {
            return Ok(Relayed::Streaming(Box::new(PageBody {
                upstream,
                rebuilder: Some((rebuilder, told)),
                ready: ready.into(),
                scratch: Vec::new(),
            })));
        }
    }
}

fn joined(mut parts: Vec<Bytes>) -> Bytes {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    parts.concat().into()
}

/// The body of a long page.
pub(super) struct PageBody<B> {
    upstream: B,
    /// Taken when the page has ended, or is dropped.
    rebuilder: Option<(PageRebuilder, Told)>,
    ready: VecDeque<Bytes>,
    scratch: Vec<Bytes>,
}

impl<B> PageBody<B> {
    /// Tells that the page ends here.
    fn cut(&mut self, error: RelayError) {
        if let Some((rebuilder, told)) = self.rebuilder.take() {
            let (rows, bytes) = rebuilder.passed();
            told(Err(Cut { error, rows, bytes }));
        }
    }
}

impl<B> Drop for PageBody<B> {
    fn drop(&mut self) {
        self.cut(RelayError::Broken("the client went away".to_owned()));
    }
}

impl<B> Body for PageBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    type Data = Bytes;
    type Error = RelayError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RelayError>>> {
        let this = &mut *self;
        loop {
            if let Some(bytes) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            let Some((rebuilder, _)) = this.rebuilder.as_mut() else {
                return Poll::Ready(None);
            };
            let step = match Pin::new(&mut this.upstream).poll_frame(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => rebuilder.push(&data, &mut this.scratch).map_err(RelayError::from),
                    Err(_) => Ok(()),
                },
                Poll::Ready(Some(Err(error))) => Err(RelayError::Broken(error.to_string())),
                Poll::Ready(None) => match this.rebuilder.take() {
                    Some((rebuilder, told)) => {
                        let (rows, bytes) = rebuilder.passed();
                        match rebuilder.finish(&mut this.scratch) {
                            Ok(summary) => {
                                told(Ok(summary));
                                Ok(())
                            }
                            Err(error) => {
                                let text = error.to_string();
                                told(Err(Cut { error: error.into(), rows, bytes }));
                                Err(RelayError::Broken(text))
                            }
                        }
                    }
                    None => Ok(()),
                },
            };
            this.ready.extend(this.scratch.drain(..));
            if let Err(error) = step {
                this.cut(RelayError::Broken(error.to_string()));
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rebuilder.is_none() && self.ready.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
