//! One refresh of a download: try, try again, examine, and take the list's place.

use std::fs;
use std::io::{self, Read, Seek, Write};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, Url};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::copies::{CopyStore, PartialDownload, Record};
use super::error::{DiskWork, ListError, NetworkError, SourceError};
use super::examine::{is_list, is_no_older, is_pinned, is_signed, is_whole, sha256};
use super::flow::Flow;
use super::http::{self, Http};
use super::schedule::{back_off, chance};
use super::spec::{Digest, Source};
use super::unpack::unpack;

/// Chunks on their way to the disk; a chunk is at most what one read of the socket brings.
const QUEUED_CHUNKS: usize = 16;
/// Octets of the largest signature: minisign's has four lines.
const MAX_SIGNATURE_LEN: u64 = 16 << 10;
/// What a signature's path has more than the list's.
const SIGNATURE_ENDING: &str = ".minisig";

/// Whether a list, by its source's name, can be used, and how many entries it has; or why not: one line for people, as whoever
/// parses it says it, which no program reads. It may take its time: it is called on a thread of its own, for one list after
/// the other.
pub type Accept = dyn Fn(&str, &[u8]) -> Result<usize, String> + Send + Sync;

/// What to do differently in a refresh on demand.
#[derive(Clone, Default)]
pub struct RefreshOptions {
    /// Take a copy however small beside the last good one; its `min_entries` must still be there.
    pub allow_shrink: bool,
    /// Who is told how far downloads have come.
    pub watcher: Option<Watcher>,
}

/// How far a download has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The source.
    pub name: &'a str,
    /// Octets so far in this try.
    pub octets: u64,
    /// Octets there will be, if the server says.
    pub total: Option<u64>,
}

/// Who is told how far downloads have come; called often, so it should be quick.
pub type Watcher = Arc<dyn for<'a> Fn(Progress<'a>) + Send + Sync>;

/// Fetches.
pub(super) struct Fetcher {
    http: Http,
    pub(super) copies: Arc<CopyStore>,
    accept: Arc<Accept>,
    /// Lists are looked at one after the other: each is in memory whole while that lasts.
    examining: Arc<Semaphore>,
}

/// What came of a refresh that went well.
#[derive(Debug)]
pub(super) enum Fetched {
    /// The server said so.
    NotModified,
    /// It sent the list; its record, and whether it differs from the copy before.
    Sent(Box<Record>, bool),
}

/// A download that has come whole.
struct Download {
    part: PartialDownload,
    octets: u64,
    sha256: Digest,
    etag: Option<String>,
    last_modified: Option<String>,
    html: bool,
    signature: Option<Vec<u8>>,
}

impl Fetcher {
    /// Fetches by `http` onto `copies` what `accept` accepts.
    pub(super) fn new(http: Http, copies: Arc<CopyStore>, accept: Arc<Accept>) -> Fetcher {
        Fetcher { http, copies, accept, examining: Arc::new(Semaphore::new(1)) }
    }

    /// Fetches a source if it has changed since `known`, trying again as it says.
    pub(super) async fn fetch(
        &self,
        source: &Source,
        url: &Url,
        known: &Record,
        options: &RefreshOptions,
    ) -> Result<Fetched, SourceError> {
        let client = self.http.client(source, url)?;
        let mut again = 0;
        loop {
            match self.attempt(source, &client, url, known, options).await {
                Err(error) if error.may_pass() && again < source.retries => {
                    sleep(back_off(source.back_off, again, chance())).await;
                    again += 1;
                }
                Err(error) if again > 0 => {
                    return Err(SourceError::Again { error: Box::new(error), tries: again + 1 });
                }
                result => return result,
            }
        }
    }

    /// One try.
    async fn attempt(
        &self,
        source: &Source,
        client: &Client,
        url: &Url,
        known: &Record,
        options: &RefreshOptions,
    ) -> Result<Fetched, SourceError> {
        // "Not modified" must mean that the good copy is here: the one the record tells of, taken on today's terms.
        let conditional = known.is_current(source) && {
            let (copies, name, known) = (self.copies.clone(), source.name.clone(), known.clone());
            spawn_blocking(move || copies.matches(&name, &known)).await.map_err(broken)?
        };
        let known_to_server = conditional.then_some(known);
        let download =
            timeout(source.limits.total, self.download(source, client, url, known_to_server, options));
        let download = download
            .await
            .unwrap_or_else(|_| Err(NetworkError::TookTooLong { limit: source.limits.total }.into()))?;
        let Some(download) = download else { return Ok(Fetched::NotModified) };
        let permit = self.examining.clone().acquire_owned().await;
        let (source, known, options) = (source.clone(), known.clone(), options.clone());
        let (copies, accept) = (self.copies.clone(), self.accept.clone());
        spawn_blocking(move || {
            let _permit = permit;
            download.examine(&source, &known, &options, &copies, &*accept)
        })
        .await
        .map_err(broken)?
    }

    /// Brings a file and its signature; none if the file is what `known` tells of.
    async fn download(
        &self,
        source: &Source,
        client: &Client,
        url: &Url,
        known: Option<&Record>,
        options: &RefreshOptions,
    ) -> Result<Option<Download>, SourceError> {
        let Some(response) = http::ask(client, url, known).await? else { return Ok(None) };
        let (etag, last_modified) = http::validators(response.headers());
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let html = kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/html"));

        let cannot = |error: io::Error| SourceError::disk(DiskWork::WriteDownload, &error);
        let (part, file) = self.copies.part(&source.name).map_err(cannot)?;
        let (chunks, mut coming) = mpsc::channel(QUEUED_CHUNKS);
        // A disk may be slow: then this thread waits, and nobody else.
        let writing = spawn_blocking(move || {
            let (mut file, mut hash) = (file, Sha256::new());
            while let Some(chunk) = coming.blocking_recv() {
                let chunk: Vec<u8> = chunk;
                file.write_all(&chunk)?;
                hash.update(&chunk);
            }
            Ok(Digest(hash.finalize().into()))
        });
        let total = response.content_length();
        let mut body = Body::new(response, source, source.limits.max_octets);
        let read = loop {
            match body.next().await {
                Err(error) => break Err(error),
                Ok(None) => break Ok(()),
                Ok(Some(chunk)) => {
                    if let Some(watcher) = &options.watcher {
                        watcher(Progress { name: &source.name, octets: body.octets, total });
                    }
                    // Nobody takes it if it could not be written: the writer says why.
                    if chunks.send(chunk).await.is_err() {
                        break Ok(());
                    }
                }
            }
        };
        drop(chunks);
        let sha256 = writing.await.map_err(broken)?.map_err(cannot)?;
        read?;
        let signature = match &source.minisign {
            None => None,
            Some(_) => Some(signature(source, client, url).await?),
        };
        Ok(Some(Download { part, octets: body.octets, sha256, etag, last_modified, html, signature }))
    }
}

/// A response's octets, bounded in number and in time.
struct Body {
    response: Response,
    flow: Flow,
    octets: u64,
    most: u64,
    window: Duration,
}

impl Body {
    /// At most `most` octets.
    fn new(response: Response, source: &Source, most: u64) -> Body {
        let window = source.limits.stall_window;
        let flow = Flow::new(window, source.limits.stall_octets, Instant::now());
        Body { response, flow, octets: 0, most, window }
    }

    /// The next octets; none at the end.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, SourceError> {
        if self.response.content_length().is_some_and(|total| total > self.most) {
            return Err(ListError::TooLarge { most: self.most }.into());
        }
        loop {
            let chunk = timeout_at(self.flow.end(), self.response.chunk()).await;
            let chunk = match chunk {
                Err(_) => None,
                Ok(Ok(None)) => return Ok(None),
                Ok(Ok(Some(chunk))) => Some(Vec::from(chunk)),
                Ok(Err(error)) => {
                    return Err(SourceError::CutOff { error: http::explain(&error), octets: self.octets });
                }
            };
            let came = chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
            self.octets = self.octets.saturating_add(came);
            if self.octets > self.most {
                return Err(ListError::TooLarge { most: self.most }.into());
            }
            if !self.flow.goes_on(came, Instant::now()) {
                return Err(NetworkError::Stalled { window: self.window, octets: self.octets }.into());
            }
            if chunk.is_some() {
                return Ok(chunk);
            }
        }
    }
}

/// Brings the signature.
async fn signature(source: &Source, client: &Client, url: &Url) -> Result<Vec<u8>, SourceError> {
    let beside = || {
        let mut beside = url.clone();
        beside.set_path(&format!("{}{SIGNATURE_ENDING}", url.path()));
        beside
    };
    let place = source.signature.clone().unwrap_or_else(beside);
    let fetch = async {
        let response = http::ask(client, &place, None).await?;
        // Nothing was asked on condition, so there is a response.
        let Some(response) = response else { return Ok(Vec::new()) };
        let mut body = Body::new(response, source, MAX_SIGNATURE_LEN);
        let mut octets = Vec::new();
        while let Some(chunk) = body.next().await? {
            octets.extend_from_slice(&chunk);
        }
        Ok(octets)
    };
    fetch.await.map_err(|error| SourceError::NoSignature { place: place.to_string(), error: Box::new(error) })
}

impl Download {
    /// Looks at everything about it, and makes it the copy if all is right.
    fn examine(
        self,
        source: &Source,
        known: &Record,
        options: &RefreshOptions,
        copies: &CopyStore,
        accept: &Accept,
    ) -> Result<Fetched, SourceError> {
        let cannot = |error: io::Error| SourceError::disk(DiskWork::ReadDownload, &error);
        let mut file = self.part.read().map_err(cannot)?;
        let unpacked = unpack(&mut file, self.octets, source.limits.max_octets)?;
        let mut served = Vec::new();
        if unpacked.is_none() || source.minisign.is_some() {
            file.rewind().map_err(cannot)?;
            file.read_to_end(&mut served).map_err(cannot)?;
        }
        let list = unpacked.as_deref().unwrap_or(&served);
        let digest = if unpacked.is_some() { sha256(list) } else { self.sha256 };
        is_list(list, self.html)?;
        if let Some(pinned) = source.sha256 {
            is_pinned(pinned, self.sha256, digest)?;
        }
        let mut signed_at = None;
        let signed_by = source.minisign.as_ref().map(ToString::to_string).unwrap_or_default();
        if let Some(key) = &source.minisign {
            let signature = self.signature.as_deref().unwrap_or_default();
            signed_at = is_signed(key, signature, &served, unpacked.as_deref())?;
            // Whatever its address: a copy of another mirror has the same owner.
            is_no_older(signed_at, known.signed_at.filter(|_| known.signed_by == signed_by), &source.name)?;
        }
        let count = |list: &[u8]| accept(&source.name, list).map(|entries| entries as u64);
        let entries = count(list).map_err(ListError::Unusable)?;
        let before = if known.is_from(source) {
            Some(known.entries)
        } else if known.url.is_empty() {
            // Killed before it was written down, or put there by hand.
            fs::read(copies.list(&source.name)).ok().and_then(|copy| count(&copy).ok())
        } else {
            // Another address may well have another list.
            None
        };
        is_whole(source, entries, before.filter(|_| !options.allow_shrink))?;

        let changed = digest.to_string() != known.sha256 || !copies.matches(&source.name, known);
        if changed {
            copies.take(&source.name, self.part, unpacked.as_deref())?;
        }
        let record = Record {
            terms: source.terms(),
            etag: self.etag,
            last_modified: self.last_modified,
            sha256: digest.to_string(),
            octets: list.len() as u64,
            entries,
            signed_at,
            signed_by,
            ..Record::default()
        };
        Ok(Fetched::Sent(Box::new(record), changed))
    }
}

/// Work on another thread that did not end.
fn broken(error: JoinError) -> SourceError {
    SourceError::NotWorkedOn(error.to_string())
}
