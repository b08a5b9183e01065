//! AWS Secrets Manager: `GetSecretValue`, the one call of it that is needed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{AwsError, Service};
use crate::https;

/// From the first request to the last answer, all tries together.
const WITHIN: Duration = Duration::from_secs(20);
/// Where the service is asked, if not at its own address in the region; as AWS's own tools have it.
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL"];

/// The name of a secret, as Amazon ECS has it: the secret's ARN, which may be followed by
/// `:json-key:version-stage:version-id`, of which each may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arn {
    text: String,
    /// How much of the text is the secret's own.
    secret: usize,
}

impl Arn {
    fn part(&self, index: usize) -> &str {
        self.text.split(':').nth(index).unwrap_or_default()
    }

    fn given(&self, index: usize) -> Option<&str> {
        Some(self.part(index)).filter(|part| !part.is_empty())
    }

    fn host(&self) -> String {
        let domain = if self.part(1) == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("secretsmanager.{}.{domain}", self.part(3))
    }
}

impl FromStr for Arn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "not the ARN of a secret: arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME, and maybe \
             :JSON-KEY:VERSION-STAGE:VERSION-ID"
                .to_owned()
        };
        let parts: Vec<&str> = text.split(':').collect();
        let [arn, partition, service, region, account, kind, name, after @ ..] = parts.as_slice() else {
            return Err(wrong());
        };
        // They become a name of a host.
        let word = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let good = *arn == "arn"
            && word(partition)
            && *service == "secretsmanager"
            && word(region)
            && word(account)
            && *kind == "secret"
            && !name.is_empty()
            && after.len() <= 3
            && !text.chars().any(char::is_control);
        if !good {
            return Err(wrong());
        }
        let after: usize = after.iter().map(|part| part.len() + 1).sum();
        Ok(Self { text: text.to_owned(), secret: text.len() - after })
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ask<'a> {
    secret_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_stage: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_id: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    secret_string: Option<String>,
}

/// The text of a secret, or of a key of its JSON.
///
/// # Errors
/// [`AwsError`].
pub async fn secret(arn: &Arn) -> Result<Zeroizing<String>, AwsError> {
    let endpoint = ENDPOINTS.iter().find_map(|name| std::env::var(name).ok().filter(|url| !url.is_empty()));
    let url = endpoint.unwrap_or_else(|| format!("https://{}/", arn.host()));
    // A secret does not go over a network in the clear.
    let address = https::address(&url, false);
    let address = address.map_err(|_| AwsError::Config(format!("{url}: must be https")))?;
    let http = super::client(None, address.scheme_str() == Some("https"))?;
    let service = Service::new("secretsmanager", arn.part(3), http, None)?;
    let ask =
        Ask { secret_id: &arn.text[..arn.secret], version_stage: arn.given(8), version_id: arn.given(9) };
    let body = serde_json::to_vec(&ask).map_err(|error| AwsError::Config(error.to_string()))?;
    let request = Request::post(address)
        .header("x-amz-target", "secretsmanager.GetSecretValue")
        .header(CONTENT_TYPE, "application/x-amz-json-1.1")
        .body(Bytes::from(body))
        .map_err(|error| AwsError::Config(error.to_string()))?;
    let answer = tokio::time::timeout(WITHIN, service.send(&request, &[])).await;
    let answer = answer.map_err(|_| AwsError::Silent(https::ExchangeError::Slow(WITHIN)))??;
    // What is wrong with the text is not said in the words of a parser, which may quote it.
    let unread = |why: &str| AwsError::Config(why.to_owned());
    let answer: Answer =
        serde_json::from_slice(answer.body()).map_err(|_| unread("the answer cannot be read"))?;
    let text = answer.secret_string.ok_or_else(|| unread("the secret is bytes, not a text"))?;
    let text = Zeroizing::new(text);
    let Some(key) = arn.given(7) else { return Ok(text) };
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text)
        .map_err(|_| unread("the secret is no JSON object, so that it has no keys"))?;
    let value = object.get(key).and_then(serde_json::Value::as_str);
    value
        .map(|value| Zeroizing::new(value.to_owned()))
        .ok_or_else(|| AwsError::Config(format!("the secret has no key '{key}' with a text")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_arn_is() {
        let plain = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:bank/oidc-AbCdEf";
        let arn: Arn = plain.parse().expect("one");
        assert_eq!((&arn.text[..arn.secret], arn.given(7)), (plain, None));
        assert_eq!(arn.host(), "secretsmanager.eu-central-1.amazonaws.com");
        let keyed: Arn = format!("{plain}:password::").parse().expect("one");
        assert_eq!(
            (&keyed.text[..keyed.secret], keyed.given(7), keyed.given(8)),
            (plain, Some("password"), None)
        );
        let staged: Arn = format!("{plain}::AWSPREVIOUS:").parse().expect("one");
        assert_eq!((staged.given(7), staged.given(8), staged.given(9)), (None, Some("AWSPREVIOUS"), None));
        let china: Arn =
            plain.replace("aws:", "aws-cn:").replace("eu-central-1", "cn-north-1").parse().expect("one");
        assert_eq!(china.host(), "secretsmanager.cn-north-1.amazonaws.com.cn");
        for wrong in [
            "arn:aws:s3:::bucket",
            "arn:aws:secretsmanager:eu-central-1:1:secret:",
            "arn:aws:secretsmanager:evil.example/x:1:secret:a",
            "arn:aws:secretsmanager:eu-central-1:1:secret:a:b:c:d:e",
            "arn:aws:secretsmanager:eu-central-1:1:secret:a\nb",
        ] {
            wrong.parse::<Arn>().expect_err(wrong);
        }
    }
}
