//! The pages, as people have them: by keyboard, with a screen reader, without scripts, light and dark.

use serde_json::Value;

use crate::harness::chromium::Chromium;
use crate::harness::sign_in::{by_password, challenge, origin};
use crate::harness::{Gateway, Settings};

/// Finds what is wrong with a page (WCAG 2.2 AA, as far as a program can tell): names and labels, the order of headings,
/// contrast, and what would need a weaker policy than ours.
const FAULTS: &str = r#"
const faults = [];
const all = css => [...document.querySelectorAll(css)];
const named = element => element.innerText.trim() || element.getAttribute('aria-label');
if (document.documentElement.lang !== 'en') faults.push('no language');
if (!document.title.endsWith(' · Northgate')) faults.push('title: ' + document.title);
if (all('h1').length !== 1) faults.push(all('h1').length + ' first headings');
if (all('main').length !== 1 || all('header').length !== 1) faults.push('landmarks');
if (!all('a.skip').length) faults.push('no way past the navigation');
let level = 1;
for (const heading of all('h1, h2, h3')) {
  const own = Number(heading.tagName[1]);
  if (own > level + 1) faults.push('a heading is left out before ' + heading.innerText);
  level = own;
}
for (const field of all('input:not([type=hidden]), select, textarea')) {
  if (!field.labels || !field.labels.length || !field.labels[0].innerText.trim()) faults.push('no label: ' + field.outerHTML);
}
for (const element of all('button, a[href]')) if (!named(element)) faults.push('no name: ' + element.outerHTML);
for (const cell of all('th')) if (!cell.scope || !cell.innerText.trim()) faults.push('a heading of nothing: ' + cell.outerHTML);
const ids = all('[id]').map(element => element.id);
if (new Set(ids).size !== ids.length) faults.push('an id twice');
if (all('script, style, iframe, object, embed, [style], [tabindex]:not([tabindex="0"])').length) faults.push('what the policy forbids');
for (const element of all('*')) {
  if ([...element.attributes].some(attribute => attribute.name.startsWith('on'))) faults.push('a handler: ' + element.outerHTML);
}
if (document.documentElement.scrollWidth > innerWidth) faults.push('wider than the window');
const channels = color => (color.match(/[\d.]+/g) || []).map(Number);
const light = ([r, g, b]) => {
  const [x, y, z] = [r, g, b].map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const ground = element => {
  for (let at = element; at; at = at.parentElement) {
    const color = channels(getComputedStyle(at).backgroundColor);
    if (color.length === 3 || color[3] === 1) return color;
  }
  return [255, 255, 255];
};
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const element = texts.currentNode.parentElement;
  if (!texts.currentNode.data.trim() || !element.getClientRects().length) continue;
  const pair = [light(channels(getComputedStyle(element).color)), light(ground(element))].sort((a, b) => b - a);
  const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
  if (contrast < 4.5) faults.push('contrast ' + contrast.toFixed(2) + ': ' + texts.currentNode.data.trim());
}
return faults;
"#;

/// Whether the page is light.
const IS_LIGHT: &str =
    "return Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]) > 127";

const TAB: char = '\u{e004}';
const ENTER: char = '\u{e007}';
const SPACE: char = '\u{e00d}';

/// Goes on from element to element until one has the focus.
fn tab_to(browser: &Chromium, css: &str) {
    for _ in 0..40 {
        browser.press(&TAB.to_string());
        let script = format!(
            "const at = document.activeElement; return at.matches({css:?}) ? getComputedStyle(at).outlineStyle : null"
        );
        match browser.run(&script) {
            Value::Null => {}
            outline => return assert_eq!(outline, "solid", "{css}: where the focus is can be seen"),
        }
    }
    panic!("no way to {css} by keyboard: {}", browser.text());
}

fn type_into(browser: &Chromium, css: &str, text: &str) {
    tab_to(browser, css);
    browser.press(text);
}

/// Every page in every state that somebody meets.
fn all_pages(gateway: &Gateway, browser: &Chromium, is_light: bool) {
    let shade = if is_light { "light" } else { "dark" };
    let look = |name: &str, says: &str| {
        browser.reads(says);
        browser.look(&format!("{shade}-{name}"));
        let faults = browser.run(FAULTS);
        assert_eq!(faults, Value::Array(Vec::new()), "{name}, {shade}");
        assert_eq!(browser.run(IS_LIGHT), is_light, "{name}");
    };
    let here = |path: &str| format!("{}{path}", origin(gateway));
    browser.go(&here("/login"));
    look("sign-in", "Sign in");
    browser.go(&here("/login/password"));
    look("password", "User name");
    browser.fill("#user", "eva");
    browser.fill("#password", "wrong");
    browser.click("main button[type=submit]");
    look("password-wrong", "is not right");
    browser.sign_in_by_password("eva");
    look("overview", "Signed in as eva");
    browser.click("nav a[href='/connect']");
    look("connect", "Power BI");
    browser.click("nav a[href='/status']");
    look("status", "Ends next");
    // One that waits for its client has a row.
    let client = gateway.signed_in("eva");
    assert_eq!(client.submit("SELECT * FROM lake.silver.customers").status, 200);
    browser.click("nav a[href='/queries']");
    look("queries", "All queries that wait or run");
    assert!(browser.has("td form input[name=reason]"), "{}", browser.text());
    browser.click("nav a[href='/history']");
    look("history", "History");
    browser.click("nav a[href='/audit']");
    look("audit", "Your searches are on record, too.");
    browser.click("nav.tabs a[href='/audit/reports']");
    look("reports", "Make the report");
    browser.click("nav.tabs a[href='/audit/exports']");
    look("exports", "Export");
    browser.click("nav.tabs a[href='/audit/compliance']");
    look("compliance-none", "One page of a month");
    browser.go(&here("/audit/compliance?month=2026-13"));
    look("compliance-wrong", "is no month");
    let month = jiff::Timestamp::now().strftime("%Y-%m").to_string();
    browser.go(&here(&format!("/audit/compliance?month={month}")));
    look("compliance", "nothing is wrong");
    let text = browser.text();
    for there in ["Seen by", "lake.silver.customers", "with the gateway's own key", "Compliance report of"] {
        assert!(text.contains(there), "'{there}' is missing: {text}");
    }
    browser.click("nav a[href='/tokens']");
    look("tokens-none", "You have none yet.");
    browser.fill("#name", "Power BI on my desk");
    browser.fill("#addresses", "10.0.0.0/99");
    browser.click("main form.card button");
    look("tokens-wrong", "at most 32 bits");
    browser.fill("#addresses", "127.0.0.0/8");
    browser.fill("#catalogs", "lake, memory");
    browser.click("main form.card button");
    look("tokens-made", "Copy it now");
    browser.go(&here("/tokens"));
    look("tokens", "Power BI on my desk");
    browser.click("table button");
    browser.reads("You have none yet.");
    let (initiate, _) = challenge(gateway, None);
    browser.go(&initiate);
    look("driver", "Let this program in?");
    browser.click("button[value=allow]");
    look("driver-let-in", "You may close this window");
    let (initiate, _) = challenge(gateway, Some("otto"));
    browser.go(&initiate);
    look("driver-of-another", "The program wants to sign in as 'otto'");
    browser.go(&here("/oauth2/token/initiate/x"));
    look("driver-over", "This link is over");
    browser.go(&here("/nothing"));
    look("no-page", "There is no such page");
    browser.go(&here("/login/finish?answer=x"));
    look("not-signed-in", "give this reference");
    browser.go(&here("/"));
    browser.click("header button");
    look("signed-out", "You are signed out");
    let complaints = browser.complaints();
    let of_policy: Vec<_> =
        complaints.iter().filter(|complaint| complaint.contains("Content Security")).collect();
    assert!(of_policy.is_empty(), "{of_policy:?}");
}

#[test]
fn every_page_is_sound_in_light_and_dark() {
    let mut settings = Settings::new();
    // The first lines are of the table of before: the audit's.
    settings.more = "auditors = ['eu-analysts']\ncheckpoint_every = '1s'\n\
                     [identity.login]\nexternal_url = 'https://localhost:{port}'\npasswords = true\n\
                     [identity.tokens]\n[admission]\noperators = ['eu-analysts']\n"
        .to_owned();
    let gateway = Gateway::start(settings);
    all_pages(&gateway, &Chromium::open(), true);
    all_pages(&gateway, &Chromium::open_dark(), false);
}

#[test]
fn all_of_it_works_by_keyboard() {
    let gateway = by_password("");
    let browser = Chromium::open();
    let (initiate, _) = challenge(&gateway, Some("eva"));
    browser.go(&initiate);
    // The field is ready to be typed into; the next is one key away.
    browser.press(&format!("eva{TAB}eva-secret{ENTER}"));
    browser.reads("Let this program in?");
    tab_to(&browser, "button[value=allow]");
    browser.press(&ENTER.to_string());
    browser.reads("You may close this window");
    tab_to(&browser, "nav a[href='/tokens']");
    browser.press(&ENTER.to_string());
    browser.reads("You have none yet.");
    type_into(&browser, "#name", "by hand");
    tab_to(&browser, "input[name=read_only]");
    browser.press(&SPACE.to_string());
    assert_eq!(browser.run("return document.activeElement.checked"), false);
    tab_to(&browser, "main form.card button");
    browser.press(&ENTER.to_string());
    browser.reads("Copy it now");
    tab_to(&browser, "pre.secret");
    tab_to(&browser, "table button");
    browser.press(&SPACE.to_string());
    browser.reads("You have none yet.");
    // Past the navigation at once.
    browser.go(&format!("{}/tokens", origin(&gateway)));
    browser.press(&format!("{TAB}{ENTER}{TAB}"));
    assert_eq!(browser.run("return document.activeElement.id"), "name");
    browser.go(&origin(&gateway));
    tab_to(&browser, "header form button");
    browser.press(&ENTER.to_string());
    browser.reads("You are signed out");
}

#[test]
fn all_of_it_works_without_scripts() {
    let gateway = by_password("");
    let browser = Chromium::open_without_scripts();
    browser.go("data:text/html,<title>off</title><script>document.title='on'</script>");
    assert_eq!(browser.run("return document.title"), "off", "pages run no scripts here");
    let (initiate, _) = challenge(&gateway, Some("eva"));
    browser.go(&initiate);
    browser.sign_in_by_password("eva");
    browser.reads("Let this program in?");
    browser.click("button[value=allow]");
    browser.reads("You may close this window");
    browser.click("nav a[href='/tokens']");
    browser.fill("#name", "without scripts");
    browser.click("main form.card button");
    browser.reads("Copy it now");
    browser.click("table button");
    browser.reads("You have none yet.");
    browser.click("header button");
    browser.reads("You are signed out");
}
