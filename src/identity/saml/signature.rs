//! XML signatures (XML Signature Syntax and Processing 1.1, as SAML core 5.4 narrows it).
//!
//! The cryptography, the canonical form and the digests are those of the `bergshamra` library. What stands here is
//! before and after it: before, that a signature has the one shape that SAML knows, so that none of the library's
//! other abilities (XPath, XSLT, keys within the message, files, shared secrets) is ever reached; after, that what was
//! verified is what is used. [`signed`] gives the canonical bytes of the signed element, which are then read anew: what
//! is not in the bytes that were signed is never seen.

use bergshamra::c14n::{C14nMode, canonicalize_doc};
use bergshamra::core::algorithm;
use bergshamra::crypto::digest::digest;
use bergshamra::dsig::verify::verify_all_document_with_source;
use bergshamra::xml::nodeset::NodeSet;
use bergshamra::{DsigContext, VerifyResult};

use super::keys::TrustedKeys;
use super::xml::{DSIG, Element, Sequence, Tree, Unfit, shown};

/// The signatures accepted: no SHA-1, no shared secret.
const SIGNATURES: [&str; 9] = [
    algorithm::RSA_SHA256,
    algorithm::RSA_SHA384,
    algorithm::RSA_SHA512,
    algorithm::RSA_PSS_SHA256,
    algorithm::RSA_PSS_SHA384,
    algorithm::RSA_PSS_SHA512,
    algorithm::ECDSA_SHA256,
    algorithm::ECDSA_SHA384,
    algorithm::ECDSA_SHA512,
];
/// The digests accepted.
const DIGESTS: [&str; 3] = [algorithm::SHA256, algorithm::SHA384, algorithm::SHA512];
/// What may stand in a KeyInfo. None of it is used: keys come from the configured place alone.
const KEY_HINTS: [&str; 3] = ["KeyName", "KeyValue", "X509Data"];
/// Most prefixes that are treated as the inclusive canonical form does: each is looked for at each element.
const MAX_PREFIXES: usize = 32;
const NAMESPACE_OF_EXCLUSIVE: &str = algorithm::EXC_C14N;

/// Whether a signature algorithm is one of those accepted.
pub(super) fn accepted(algorithm: &str) -> Result<(), Unfit> {
    if SIGNATURES.contains(&algorithm) {
        return Ok(());
    }
    Err(Unfit::because(format!("the signature algorithm '{}' is not accepted", shown(algorithm))))
}

/// The signature of an element: its child that stands right after the issuer. Elsewhere none is looked for.
fn signature_of(element: Element<'_>) -> Result<Option<Element<'_>>, Unfit> {
    let children = element.children()?;
    let found = children.get(1).copied().filter(|second| second.is(DSIG, "Signature"));
    let all = children.iter().filter(|child| child.is(DSIG, "Signature")).count();
    if all > usize::from(found.is_some()) {
        return Err(Unfit::because(format!(
            "a signature of {} that is not behind its issuer",
            element.name()
        )));
    }
    Ok(found)
}

/// For each of these elements its canonical form as it was signed, without its own signature; none if it has no
/// signature. A signature anywhere else, or one that does not hold, is an error, whatever else is signed.
pub(super) fn signed<const N: usize>(
    tree: &Tree<'_>,
    source: &str,
    elements: [Element<'_>; N],
    keys: &TrustedKeys,
) -> Result<[Option<String>; N], Unfit> {
    let mut found = Vec::new();
    for (index, element) in elements.into_iter().enumerate() {
        if let Some(signature) = signature_of(element)? {
            let reference = shape(signature, element).map_err(|why| of(element, &why.to_string()))?;
            found.push((index, element, signature, reference));
        }
    }
    let root = tree.root()?;
    if root.is(DSIG, "Signature") || root.descendants(DSIG, "Signature").len() != found.len() {
        return Err("a signature where none may be".into());
    }
    let mut texts = [const { None }; N];
    if found.is_empty() {
        return Ok(texts);
    }
    let context = DsigContext::new(keys.manager());
    let results = verify_all_document_with_source(&context, tree.document(), Some(source))
        .map_err(|error| of(root, &error.to_string()))?;
    for (index, element, signature, reference) in found {
        holds(&results, element, signature)?;
        let text = canonical(tree, element, signature, &reference);
        texts[index] = Some(text.map_err(|why| of(element, &why.to_string()))?);
    }
    Ok(texts)
}

fn of(element: Element<'_>, why: &str) -> Unfit {
    Unfit::because(format!("the signature of {}: {}", element.name(), shown(why)))
}

/// Whether the library found that this signature holds, over this very element and nothing else. A failure does not say
/// of which signature it is, so that each counts against all.
fn holds(results: &[VerifyResult], element: Element<'_>, signature: Element<'_>) -> Result<(), Unfit> {
    let mut valid = false;
    for result in results {
        match result {
            VerifyResult::Valid { signature_node, references, .. } if *signature_node == signature.id() => {
                valid = matches!(&references[..], [only]
                    if only.digest_verified && only.resolved_node == Some(element.id()));
            }
            VerifyResult::Valid { .. } => {}
            VerifyResult::Invalid { reason } => return Err(of(element, reason)),
        }
    }
    if valid { Ok(()) } else { Err(of(element, "is not over it")) }
}

/// What a signature says of the one thing that it signs.
struct Reference<'t> {
    digest_method: &'t str,
    digest_value: Vec<u8>,
    inclusive: Vec<&'t str>,
}

/// Checks that a signature has exactly the parts that SAML allows, and none that has a say in what is verified.
fn shape<'t>(signature: Element<'t>, signed: Element<'t>) -> Result<Reference<'t>, Unfit> {
    let mut parts = Sequence::of(signature)?;
    let info = parts.required(DSIG, "SignedInfo")?;
    let value = parts.required(DSIG, "SignatureValue")?;
    if let Some(hints) = parts.optional(DSIG, "KeyInfo") {
        only(hints, &["Id"])?;
        for hint in hints.children()? {
            if !KEY_HINTS.iter().any(|name| hint.is(DSIG, name)) {
                return Err(Unfit::because(format!("{} in its KeyInfo", shown(hint.name()))));
            }
        }
    }
    parts.end()?;
    only(signature, &["Id"])?;
    only(info, &["Id"])?;
    only(value, &["Id"])?;
    base64(value.text()?)?;

    let mut parts = Sequence::of(info)?;
    exclusive(parts.required(DSIG, "CanonicalizationMethod")?)?;
    let method = parts.required(DSIG, "SignatureMethod")?;
    let reference = parts.required(DSIG, "Reference")?;
    parts.end()?;
    accepted(leaf(method)?)?;

    only(reference, &["Id", "URI", "Type"])?;
    let target = reference.attribute("URI").and_then(|uri| uri.strip_prefix('#'));
    if target.is_none() || target != signed.attribute("ID") {
        return Err("it refers to something else than its own element".into());
    }
    let mut parts = Sequence::of(reference)?;
    let transforms = parts.required(DSIG, "Transforms")?;
    let digest_method = leaf(parts.required(DSIG, "DigestMethod")?)?;
    let digest_value = parts.required(DSIG, "DigestValue")?;
    parts.end()?;
    if !DIGESTS.contains(&digest_method) {
        return Err(Unfit::because(format!("the digest '{}' is not accepted", shown(digest_method))));
    }
    only(digest_value, &[])?;
    let digest_value = base64(digest_value.text()?)?;

    only(transforms, &[])?;
    let mut parts = Sequence::of(transforms)?;
    let enveloped = parts.required(DSIG, "Transform")?;
    if leaf(enveloped)? != algorithm::ENVELOPED_SIGNATURE {
        return Err("its first transform is not that of an enveloped signature".into());
    }
    let inclusive = exclusive(parts.required(DSIG, "Transform")?)?;
    parts.end()?;
    Ok(Reference { digest_method, digest_value, inclusive })
}

/// The algorithm that an element without content names.
fn leaf(element: Element<'_>) -> Result<&str, Unfit> {
    only(element, &["Algorithm"])?;
    Sequence::of(element)?.end()?;
    element.required("Algorithm")
}

/// Checks that the exclusive canonical form is named, and gives the prefixes that it treats as the inclusive one does.
fn exclusive(element: Element<'_>) -> Result<Vec<&str>, Unfit> {
    only(element, &["Algorithm"])?;
    let named = element.required("Algorithm")?;
    if named != algorithm::EXC_C14N {
        return Err(Unfit::because(format!("'{}' in place of exclusive canonical XML", shown(named))));
    }
    let mut parts = Sequence::of(element)?;
    let list = parts.optional(NAMESPACE_OF_EXCLUSIVE, "InclusiveNamespaces");
    parts.end()?;
    let Some(list) = list else { return Ok(Vec::new()) };
    only(list, &["PrefixList"])?;
    Sequence::of(list)?.end()?;
    let prefixes: Vec<_> = list.required("PrefixList")?.split_ascii_whitespace().collect();
    if prefixes.len() > MAX_PREFIXES {
        return Err(Unfit::because(format!("more than {MAX_PREFIXES} prefixes in a PrefixList")));
    }
    Ok(prefixes)
}

/// No attributes but these: the library looks for some by their local name alone.
fn only(element: Element<'_>, attributes: &[&str]) -> Result<(), Unfit> {
    if element.other_attributes(attributes) {
        return Err(Unfit::because(format!("an unknown attribute of {}", element.name())));
    }
    Ok(())
}

/// Bytes in base64, with white space.
pub(super) fn base64(text: &str) -> Result<Vec<u8>, Unfit> {
    use base64::Engine as _;
    let text: String = text.chars().filter(|c| !matches!(c, ' ' | '\t' | '\r' | '\n')).collect();
    base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| "not base64".into())
}

/// The bytes that the digest was made of. That they are those is checked again here, so that what is read on is what
/// was signed and not what a second look at the tree makes of it.
fn canonical(
    tree: &Tree<'_>,
    element: Element<'_>,
    signature: Element<'_>,
    reference: &Reference<'_>,
) -> Result<String, Unfit> {
    let document = tree.document();
    let whole = NodeSet::tree_without_comments(element.id(), document);
    let without = whole.subtract(&NodeSet::tree_with_comments(signature.id(), document));
    let bytes = canonicalize_doc(document, C14nMode::Exclusive, Some(&without), &reference.inclusive)
        .map_err(|error| Unfit::because(shown(&error.to_string())))?;
    let found = digest(reference.digest_method, &bytes).map_err(|_| Unfit::from("no digest"))?;
    if found != reference.digest_value {
        return Err("the bytes read are not those signed".into());
    }
    String::from_utf8(bytes).map_err(|_| "not UTF-8".into())
}
