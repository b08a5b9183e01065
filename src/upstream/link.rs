//! Which paths are links of Trino's protocol.

use http::Uri;

/// The longest link, in bytes. Trino's have about 120.
const LONGEST: usize = 512;

/// Whether a path is one that Trino gives out as a link: `/v1/statement/{queued|executing}/{id}/{slug}/{token}`, with nothing in
/// it that a server might read as another path. Its other links (`executing/partialCancel`) are none to us: they end one stage of a
/// plan, and with it what a policy reads.
pub fn is_link(path: &str) -> bool {
    if path.len() > LONGEST {
        return false;
    }
    let Some(rest) = path.strip_prefix("/v1/statement/") else {
        return false;
    };
    let parts: Vec<&str> = rest.split('/').collect();
    let plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    if !parts.iter().all(|part| plain(part)) {
        return false;
    }
    match parts[..] {
        ["queued" | "executing", _, _, token] => is_number(token),
        _ => false,
    }
}

/// The path of a link in one of Trino's pages, whatever host it names; `None` if it is no link.
pub fn link_of(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    (uri.query().is_none() && is_link(uri.path())).then(|| uri.path().to_owned())
}

fn is_number(text: &str) -> bool {
    text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_are_links() {
        let check = |path: &str, expect: bool| assert_eq!(is_link(path), expect, "{path}");
        check("/v1/statement/queued/20261123_033700_00028_xsgd7/yb24/1", true);
        check("/v1/statement/executing/20261123_033700_00028_xsgd7/yb24/17", true);
        check("/v1/statement/executing/partialCancel/20261123_033700_00028_xsgd7/0/yb24/17", false);
        check("/v1/statement", false);
        check("/v1/statement/", false);
        check("/v1/statement/queued/q/s", false);
        check("/v1/statement/queued/q/s/x", false);
        check("/v1/statement/queued/q/s/1/", false);
        check("/v1/statement/queued//s/1", false);
        check("/v1/statement/queued/../../query/1", false);
        check("/v1/statement/queued/%2e%2e/s/1", false);
        check("/v1/statement/queued/q;x/s/1", false);
        check("/v1/statement/queued/q/s/1?x=1", false);
        check("/v1/statement/queued/q/s/1#x", false);
        check("/v1/statement/queued/q\\x/s/1", false);
        check("/v1/query/20261123_033700_00028_xsgd7", false);
        check("http://other/v1/statement/queued/q/s/1", false);
        check(&format!("/v1/statement/queued/{}/s/1", "q".repeat(600)), false);
    }

    #[test]
    fn the_host_of_a_link_is_thrown_away() {
        let check = |url: &str, expect: Option<&str>| assert_eq!(link_of(url).as_deref(), expect, "{url}");
        check("http://evil:1/v1/statement/queued/q/s/1", Some("/v1/statement/queued/q/s/1"));
        check("/v1/statement/queued/q/s/1", Some("/v1/statement/queued/q/s/1"));
        check("http://t/v1/statement/queued/q/s/1?slug=2", None);
        check("http://t/ui/query.html", None);
        check("not a url at all", None);
    }
}
