//! Which client certificates are believed.
//!
//! A certificate is asked for, not demanded: who has none signs in by other means, and who shows one that does not hold
//! gets no connection. Connections live long, so that what is read anew is held against those that are open, too.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::config::Config;
use super::error::ServerError;
use crate::wire::{ClientCertificate, UnreadableCertificate};

/// Whom certificates must come from, and which were withdrawn: as the files say.
#[derive(Debug)]
pub(super) struct Trust {
    authorities: Vec<u8>,
    withdrawn: Option<Vec<u8>>,
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
}

impl Trust {
    /// Reads the certificates of the authorities (PEM) and their lists of withdrawn certificates (PEM), if there is a
    /// file of them. With one, each authority of a chain needs a list that is not past its next update.
    pub(super) fn read(ca_file: &Path, crl_file: Option<&Path>) -> Result<Self, ServerError> {
        let file = |path: &Path| {
            std::fs::read(path).map_err(|source| ServerError::File { path: path.into(), source })
        };
        let authorities = file(ca_file)?;
        let withdrawn = crl_file.map(file).transpose()?;
        let verifier = verifier(&authorities, withdrawn.as_deref()).map_err(|(of_list, message)| {
            let path = if of_list { crl_file.unwrap_or(ca_file) } else { ca_file };
            ServerError::Certificate { path: path.into(), message }
        })?;
        Ok(Self { authorities, withdrawn, verifier })
    }

    /// Whether the files said the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.authorities == other.authorities && self.withdrawn == other.withdrawn
    }

    fn holds(&self, chain: &[CertificateDer<'static>]) -> bool {
        let Some((own, others)) = chain.split_first() else { return false };
        self.verifier.verify_client_cert(own, others, UnixTime::now()).is_ok()
    }
}

/// What is wrong with the authorities, or (`true`) with the lists.
type Wrong = (bool, String);

fn verifier(authorities: &[u8], withdrawn: Option<&[u8]>) -> Result<Arc<dyn ClientCertVerifier>, Wrong> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities) {
        let certificate = certificate.map_err(|error| (false, error.to_string()))?;
        roots.add(certificate).map_err(|error| (false, error.to_string()))?;
    }
    if roots.is_empty() {
        return Err((false, "holds no certificate".to_owned()));
    }
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
            .allow_unauthenticated();
    if let Some(withdrawn) = withdrawn {
        let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(withdrawn)
            .collect::<Result<_, _>>()
            .map_err(|error| (true, error.to_string()))?;
        if lists.is_empty() {
            return Err((true, "holds no list of withdrawn certificates".to_owned()));
        }
        builder = builder.with_crls(lists).enforce_revocation_expiration();
    }
    builder.build().map_err(|error| (true, error.to_string()))
}

/// Whether a handshake failed for the certificate that a client has shown: its owner will ask why.
pub(super) fn is_refusal(error: &std::io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::InvalidCertificate(_)))
}

/// The files, and what they last said.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) ca_file: PathBuf,
    pub(super) crl_file: Option<PathBuf>,
    pub(super) current: ArcSwap<Trust>,
}

impl Clients {
    /// Reads the files, if the configuration names any.
    pub(super) fn of(config: &Config) -> Result<Option<Self>, ServerError> {
        let Some(ca_file) = config.client_ca_file.clone() else { return Ok(None) };
        let crl_file = config.client_crl_file.clone();
        let current = ArcSwap::from_pointee(Trust::read(&ca_file, crl_file.as_deref())?);
        Ok(Some(Self { ca_file, crl_file, current }))
    }

    /// What the files say now.
    pub(super) fn reread(&self) -> Result<Trust, ServerError> {
        Trust::read(&self.ca_file, self.crl_file.as_deref())
    }
}

/// A certificate that a connection began with.
pub(super) struct Shown {
    chain: Vec<CertificateDer<'static>>,
    clients: Arc<Clients>,
    /// What it was last held against.
    trust: ArcSwap<Trust>,
}

impl Shown {
    /// The chain of a handshake that has ended well, with `trust`.
    pub(super) fn new(
        chain: &[CertificateDer<'_>],
        clients: &Arc<Clients>,
        trust: Arc<Trust>,
    ) -> Result<(Self, ClientCertificate), UnreadableCertificate> {
        let certificate = ClientCertificate::read(chain.first().ok_or(UnreadableCertificate)?)?;
        let chain = chain.iter().map(|one| one.clone().into_owned()).collect();
        Ok((Self { chain, clients: Arc::clone(clients), trust: ArcSwap::new(trust) }, certificate))
    }

    /// Whether it holds by what the files last said.
    pub(super) fn holds(&self) -> bool {
        let current = self.clients.current.load();
        if Arc::ptr_eq(&current, &self.trust.load()) {
            return true;
        }
        let holds = current.holds(&self.chain);
        if holds {
            self.trust.store(Arc::clone(&current));
        }
        holds
    }
}
