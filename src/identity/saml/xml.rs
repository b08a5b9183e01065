//! XML as SAML messages may have it: a small part of XML, read strictly.
//!
//! There is one parser for all, that of the signature library: what is verified and what is read is one tree. No DTD,
//! hence no entities of one's own; no comments, processing instructions and CDATA sections, which readers differ about;
//! no identifier twice.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use bergshamra::xml::uppsala::{Document, NodeId, NodeKind, Parser};

/// Longest message, in bytes.
pub(super) const MAX_MESSAGE: usize = 1 << 20;
/// Elements may be this deep in one another.
const MAX_DEPTH: u32 = 32;
/// Most tags of a message: room for 10,000 groups, each in an attribute of its own.
const MAX_TAGS: usize = 65_536;
/// Most attributes and namespaces of one element. The parser compares each with each.
const MAX_ATTRIBUTES: usize = 128;

/// Namespaces.
pub(super) const ASSERTION: &str = "urn:oasis:names:tc:SAML:2.0:assertion";
pub(super) const PROTOCOL: &str = "urn:oasis:names:tc:SAML:2.0:protocol";
pub(super) const METADATA: &str = "urn:oasis:names:tc:SAML:2.0:metadata";
pub(super) const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";
pub(super) const ENC: &str = "http://www.w3.org/2001/04/xmlenc#";
pub(super) const ENC11: &str = "http://www.w3.org/2009/xmlenc11#";

/// Why a message is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It does not say all groups of its subject.
    Overage,
    /// Anything else. For the log.
    Because(Cow<'static, str>),
}

impl Unfit {
    /// With a text made for the case. What others wrote must be shortened by [`shown`].
    pub(super) fn because(why: String) -> Self {
        Self::Because(Cow::Owned(why))
    }
}

impl From<&'static str> for Unfit {
    fn from(why: &'static str) -> Self {
        Self::Because(Cow::Borrowed(why))
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overage => f.write_str("leaves groups out"),
            Self::Because(why) => f.write_str(why),
        }
    }
}

/// What others wrote, as it may stand in a log: short, and without control characters.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// A message that was read.
pub(super) struct Tree<'a> {
    document: Document<'a>,
}

/// Whether comments are passed over. They are in metadata, which administrators write; never in messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Comments {
    Refused,
    Ignored,
}

impl<'a> Tree<'a> {
    /// Reads a message.
    pub(super) fn message(text: &'a str) -> Result<Self, Unfit> {
        if memchr::memchr_iter(b'<', text.as_bytes()).count() > MAX_TAGS {
            return Err(Unfit::because(format!("more than {MAX_TAGS} tags")));
        }
        Self::read(text, MAX_MESSAGE, Comments::Refused)
    }

    /// Reads a document of at most so many bytes.
    pub(super) fn read(text: &'a str, longest: usize, comments: Comments) -> Result<Self, Unfit> {
        if text.len() > longest {
            return Err(Unfit::because(format!("longer than {longest} bytes")));
        }
        // A `<` begins a tag and stands nowhere in it, so that each tag is in a piece of its own.
        if text.split('<').any(|piece| memchr::memchr_iter(b'=', piece.as_bytes()).count() > MAX_ATTRIBUTES) {
            return Err(Unfit::because(format!("more than {MAX_ATTRIBUTES} attributes of one element")));
        }
        let parser = Parser::new().with_forbid_dtd(true).with_max_depth(MAX_DEPTH);
        let document = parser
            .parse(text)
            .map_err(|error| Unfit::because(format!("not XML: {}", shown(&error.to_string()))))?;
        let tree = Self { document };
        tree.check(comments)?;
        Ok(tree)
    }

    fn check(&self, comments: Comments) -> Result<(), Unfit> {
        let document = &self.document;
        if document.doctype.is_some() {
            return Err("a document type".into());
        }
        let mut identifiers = BTreeSet::new();
        for id in document.descendants(document.root()) {
            match document.node_kind(id) {
                Some(NodeKind::Text(_)) => {}
                Some(NodeKind::Element(element)) => {
                    for attribute in &element.attributes {
                        let name: &str = &attribute.name.local_name;
                        if !name.eq_ignore_ascii_case("id") && name != "AssertionID" {
                            continue;
                        }
                        if attribute.name.namespace_uri.is_some() || attribute.name.prefix.is_some() {
                            return Err("an identifier in a namespace".into());
                        }
                        if attribute.value.is_empty() || !identifiers.insert(attribute.value.as_ref()) {
                            return Err("an identifier that is empty, or there twice".into());
                        }
                    }
                }
                Some(NodeKind::Comment(_)) if comments == Comments::Ignored => {}
                Some(NodeKind::Comment(_)) => return Err("a comment".into()),
                Some(NodeKind::ProcessingInstruction(_)) => return Err("a processing instruction".into()),
                Some(NodeKind::CData(_)) => return Err("a CDATA section".into()),
                _ => return Err("a node of no known kind".into()),
            }
        }
        Ok(())
    }

    /// The outermost element.
    pub(super) fn root(&self) -> Result<Element<'_>, Unfit> {
        let id = self.document.document_element().ok_or(Unfit::from("no element"))?;
        Ok(Element { document: &self.document, id })
    }

    /// What the signature library takes.
    pub(super) fn document(&self) -> &Document<'a> {
        &self.document
    }
}

/// An element of a tree.
#[derive(Clone, Copy)]
pub(super) struct Element<'t> {
    document: &'t Document<'t>,
    id: NodeId,
}

impl<'t> Element<'t> {
    pub(super) fn id(self) -> NodeId {
        self.id
    }

    pub(super) fn is(self, namespace: &str, name: &str) -> bool {
        self.document.element(self.id).is_some_and(|element| element.matches_name_ns(namespace, name))
    }

    /// The name without its namespace, to be shown.
    pub(super) fn name(self) -> &'t str {
        self.document.element(self.id).map_or("", |element| &element.name.local_name)
    }

    /// The elements in it. Text between them is an error, as no element of SAML has both.
    pub(super) fn children(self) -> Result<Vec<Element<'t>>, Unfit> {
        let mut children = Vec::new();
        for id in self.document.children_iter(self.id) {
            match self.document.node_kind(id) {
                Some(NodeKind::Element(_)) => children.push(Element { document: self.document, id }),
                Some(NodeKind::Text(text)) if text.chars().all(|c| matches!(c, ' ' | '\t' | '\r' | '\n')) => {
                }
                Some(NodeKind::Comment(_)) => {}
                _ => return Err(Unfit::because(format!("text beside elements in {}", self.name()))),
            }
        }
        Ok(children)
    }

    /// The text of an element that has nothing but text.
    pub(super) fn text(self) -> Result<&'t str, Unfit> {
        let mut children = self.document.children_iter(self.id);
        match (children.next(), children.next()) {
            (None, _) => Ok(""),
            (Some(only), None) => match self.document.node_kind(only) {
                Some(NodeKind::Text(text)) => Ok(text.as_ref()),
                _ => Err(Unfit::because(format!("no plain text in {}", self.name()))),
            },
            _ => Err(Unfit::because(format!("no plain text in {}", self.name()))),
        }
    }

    /// The value of an attribute without a namespace.
    pub(super) fn attribute(self, name: &str) -> Option<&'t str> {
        let element = self.document.element(self.id)?;
        let mut all = element.attributes.iter();
        let found = all.find(|attribute| {
            attribute.name.local_name == name
                && attribute.name.prefix.is_none()
                && attribute.name.namespace_uri.is_none()
        })?;
        Some(&found.value)
    }

    /// The value of an attribute that must be there.
    pub(super) fn required(self, name: &str) -> Result<&'t str, Unfit> {
        match self.attribute(name) {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(Unfit::because(format!("{} without {name}", self.name()))),
        }
    }

    /// The names of the attributes that have a namespace or are none of these.
    pub(super) fn other_attributes(self, known: &[&str]) -> bool {
        self.document.element(self.id).is_none_or(|element| {
            element.attributes.iter().any(|attribute| {
                attribute.name.prefix.is_some()
                    || attribute.name.namespace_uri.is_some()
                    || !known.contains(&attribute.name.local_name.as_ref())
            })
        })
    }

    /// All elements of this name below this one, at any depth.
    pub(super) fn descendants(self, namespace: &str, name: &str) -> Vec<Element<'t>> {
        let below = self.document.descendants(self.id).into_iter();
        below
            .map(|id| Element { document: self.document, id })
            .filter(|element| element.id != self.id && element.is(namespace, name))
            .collect()
    }
}

/// Reads children in the order of a schema.
pub(super) struct Sequence<'t> {
    of: &'t str,
    rest: std::iter::Peekable<std::vec::IntoIter<Element<'t>>>,
}

impl<'t> Sequence<'t> {
    pub(super) fn of(element: Element<'t>) -> Result<Self, Unfit> {
        Ok(Self { of: element.name(), rest: element.children()?.into_iter().peekable() })
    }

    /// The next child, if it has this name.
    pub(super) fn optional(&mut self, namespace: &str, name: &str) -> Option<Element<'t>> {
        self.rest.next_if(|element| element.is(namespace, name))
    }

    /// The next child, which must have this name.
    pub(super) fn required(&mut self, namespace: &str, name: &str) -> Result<Element<'t>, Unfit> {
        self.optional(namespace, name).ok_or_else(|| match self.rest.peek() {
            Some(other) => {
                Unfit::because(format!("{} in {}, where {name} should be", shown(other.name()), self.of))
            }
            None => Unfit::because(format!("{} without {name}", self.of)),
        })
    }

    /// There must be no child left.
    pub(super) fn end(mut self) -> Result<(), Unfit> {
        match self.rest.next() {
            Some(other) => {
                Err(Unfit::because(format!("{} in {}, where it may not be", shown(other.name()), self.of)))
            }
            None => Ok(()),
        }
    }
}

/// Text as it stands in an element or in an attribute between double quotes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' | '\r' => escaped.push_str(&format!("&#{};", u32::from(c))),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_message() {
        let check = |text: &str, expect: &str| {
            let error = Tree::message(text).err().unwrap_or_else(|| panic!("{text} was read"));
            assert!(error.to_string().contains(expect), "{text}: {error}");
        };
        check("", "not XML");
        check("<a>", "not XML");
        check("<a/><b/>", "not XML");
        check("<a x='1' x='2'/>", "not XML");
        check("<a xmlns:p='u' xmlns:q='u' p:x='1' q:x='2'/>", "not XML");
        check("<p:a/>", "not XML");
        check("<a>&b;</a>", "not XML");
        check("<!DOCTYPE a><a/>", "not XML");
        check("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "not XML");
        check("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", "not XML");
        check("<a><!-- --></a>", "a comment");
        check("<!-- --><a/>", "a comment");
        check("<a/><!-- -->", "a comment");
        check("<a>eva<!-- -->.admin</a>", "a comment");
        check("<a><?b?></a>", "a processing instruction");
        check("<?b?><a/>", "a processing instruction");
        check("<a><![CDATA[b]]></a>", "a CDATA section");
        check("<a ID='1'><b ID='1'/></a>", "there twice");
        check("<a ID='1'><b Id='1'/></a>", "there twice");
        check("<a ID='1'><b id='1'/></a>", "there twice");
        check("<a ID='1'><b AssertionID='1'/></a>", "there twice");
        check("<a ID='1'><b xmlns:x='u' x:ID='2'/></a>", "in a namespace");
        check("<a ID='1'><b xml:id='2'/></a>", "in a namespace");
        check("<a ID=''/>", "empty");
        check(&format!("{}{}", "<a>".repeat(40), "</a>".repeat(40)), "not XML");
        check(&format!("<a>{}</a>", "x".repeat(MAX_MESSAGE)), "longer than");
        check(&format!("<a>{}</a>", "<b/>".repeat(MAX_TAGS)), "more than 65536 tags");
        // What costs more than its size: each attribute is compared with each.
        let many = |name: &str, count: usize| {
            (0..count).fold(String::new(), |all, i| all + &format!("{name}{i}='>' "))
        };
        check(&format!("<a {}/>", many("x", 129)), "more than 128 attributes");
        check(&format!("<a {}/>", many("xmlns:x", 129)), "more than 128 attributes");
        assert!(Tree::message(&format!("<a {}/>", many("x", 128))).is_ok());
    }

    #[test]
    fn text_is_all_of_it_or_none() {
        let text = |xml: &str| {
            let tree = Tree::read(xml, 1000, Comments::Ignored).expect("XML");
            tree.root().expect("a root").text().map(str::to_owned).ok()
        };
        assert_eq!(text("<a>x &lt;&#x79;&amp; z</a>").as_deref(), Some("x <y& z"));
        assert_eq!(text("<a/>").as_deref(), Some(""));
        assert_eq!(text("<a>eva<!-- -->.admin</a>"), None);
        assert_eq!(text("<a>eva<b/></a>"), None);
        assert_eq!(escape("<a b=\"c&d\">\n"), "&lt;a b=&quot;c&amp;d&quot;&gt;&#10;");
    }
}
