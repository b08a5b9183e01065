//! Which tag stands for which type of Macie's.

use std::collections::{BTreeMap, BTreeSet};

use super::csv;

/// The longest tag that is made of a name, in bytes.
const LONGEST: usize = 150;

/// Macie's categories, and the first word of the tags for them. The tags of custom identifiers begin with `custom`.
const CATEGORIES: [(&str, &str); 3] =
    [("PERSONAL_INFORMATION", "pii"), ("FINANCIAL_INFORMATION", "financial"), ("CREDENTIALS", "credentials")];
const CUSTOM: &str = "custom";

/// Macie's types, by the identifiers of "Quick reference: Managed data identifiers by type" in its user guide. A star
/// stands for a country or nothing; the first line that fits counts. What fits none gets a tag made of its own name.
const TYPES: [(&str, &str); 47] = [
    ("EMAIL_ADDRESS", "pii.email"),
    ("NAME", "pii.name"),
    ("ADDRESS", "pii.address"),
    ("LATITUDE_LONGITUDE", "pii.location"),
    ("DATE_OF_BIRTH", "pii.birth_date"),
    ("*PHONE_NUMBER", "pii.phone"),
    ("USA_SOCIAL_SECURITY_NUMBER", "pii.ssn"),
    ("*SOCIAL_SECURITY_NUMBER", "pii.national_id"),
    ("*SOCIAL_INSURANCE_NUMBER", "pii.national_id"),
    ("*NATIONAL_INSURANCE_NUMBER", "pii.national_id"),
    ("*NATIONAL_IDENTIFICATION_NUMBER", "pii.national_id"),
    ("*DNI_NUMBER", "pii.national_id"),
    ("*ELECTORAL_ROLL_NUMBER", "pii.electoral_roll"),
    ("*PASSPORT_NUMBER", "pii.passport"),
    ("*DRIVERS_LICENSE", "pii.driver_license"),
    ("DRIVERS_LICENSE_ID*", "pii.driver_license"),
    ("*TAX_IDENTIFICATION_NUMBER", "pii.tax_id"),
    ("*TAX_FILE_NUMBER", "pii.tax_id"),
    ("*CPF_NUMBER", "pii.tax_id"),
    ("*CNPJ_NUMBER", "pii.tax_id"),
    ("*NIE_NUMBER", "pii.tax_id"),
    ("*NIF_NUMBER", "pii.tax_id"),
    ("*NIT_NUMBER", "pii.tax_id"),
    ("*RFC_NUMBER", "pii.tax_id"),
    ("*RUT_NUMBER", "pii.tax_id"),
    ("INDIA_PERMANENT_ACCOUNT_NUMBER", "pii.tax_id"),
    ("VEHICLE_IDENTIFICATION_NUMBER", "pii.vehicle"),
    ("*HEALTH_INSURANCE_CLAIM_NUMBER", "pii.health"),
    ("*HEALTH_INSURANCE_NUMBER", "pii.health"),
    ("*HEALTH_NUMBER", "pii.health"),
    ("*NHS_NUMBER", "pii.health"),
    ("*MEDICARE_BENEFICIARY_IDENTIFIER", "pii.health"),
    ("*NATIONAL_PROVIDER_IDENTIFIER", "pii.health"),
    ("*DRUG_ENFORCEMENT_AGENCY_NUMBER", "pii.health"),
    ("*HEALTHCARE_PROCEDURE_CODE", "pii.health"),
    ("*NATIONAL_DRUG_CODE", "pii.health"),
    ("MEDICAL_DEVICE_UDI", "pii.health"),
    ("CREDIT_CARD_*", "financial.card"),
    ("*BANK_ACCOUNT_NUMBER", "financial.bank_account"),
    ("AWS_CREDENTIALS", "credentials.aws"),
    ("GOOGLE_CLOUD_API_KEY", "credentials.api_key"),
    ("STRIPE_CREDENTIALS", "credentials.api_key"),
    ("*PRIVATE_KEY", "credentials.private_key"),
    ("PKCS", "credentials.private_key"),
    ("HTTP_BASIC_AUTH_HEADER", "credentials.http"),
    ("HTTP_COOKIE", "credentials.http"),
    ("JSON_WEB_TOKEN", "credentials.token"),
];

/// Which tags stand for which types.
#[derive(Clone, Debug, Default)]
pub(super) struct Types {
    /// As its user wants them, by the type, or by the name of a custom identifier, in capitals.
    own: BTreeMap<String, BTreeSet<String>>,
}

impl Types {
    /// Reads a file of types: CSV with the columns `type` and `tags`.
    ///
    /// # Errors
    /// What is wrong with which line.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut own = BTreeMap::new();
        let rows = csv::Rows::read(text, &[&["type"], &["tags"]])?;
        if let Some(line) = rows.short.first() {
            return Err(format!("line {line}: it has too few columns"));
        }
        for row in &rows.below {
            let tags = csv::tags(&row.cells[1]).map_err(|why| format!("line {}: {why}", row.line))?;
            if own.insert(row.cells[0].trim().to_uppercase(), tags).is_some() {
                return Err(format!("line {}: {} is there twice", row.line, row.cells[0]));
            }
        }
        Ok(Self { own })
    }

    /// The tags for a type of a category.
    pub(super) fn managed(&self, category: &str, kind: &str) -> BTreeSet<String> {
        if let Some(own) = self.own.get(&kind.to_uppercase()) {
            return own.clone();
        }
        let kind = kind.to_uppercase();
        let known =
            TYPES.iter().find(|(pattern, _)| match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
                (Some(end), _) => {
                    kind.strip_suffix(end).is_some_and(|start| start.is_empty() || start.ends_with('_'))
                }
                (_, Some(start)) => kind.starts_with(start),
                _ => *pattern == kind,
            });
        let made = || format!("{}.{}", family(category), word(&kind, "other"));
        BTreeSet::from([known.map_or_else(made, |(_, tag)| (*tag).to_owned())])
    }

    /// The tags for what a custom identifier found.
    pub(super) fn custom(&self, name: &str) -> BTreeSet<String> {
        let own = self.own.get(&name.trim().to_uppercase());
        own.cloned().unwrap_or_else(|| BTreeSet::from([format!("{CUSTOM}.{}", word(name, "other"))]))
    }

    /// The first words of all tags that are made here.
    pub(super) fn families(&self) -> BTreeSet<String> {
        let own = self.own.values().flatten().filter_map(|tag| tag.split('.').next());
        let made = CATEGORIES.iter().map(|(_, family)| *family);
        own.chain(made).chain([CUSTOM]).map(str::to_owned).collect()
    }
}

fn family(category: &str) -> String {
    let known = CATEGORIES.iter().find(|(known, _)| known.eq_ignore_ascii_case(category));
    known.map_or_else(|| word(category, "sensitive"), |(_, family)| (*family).to_owned())
}

/// A name as one word of a tag.
fn word(name: &str, otherwise: &str) -> String {
    let mut word = String::new();
    for c in name.trim().to_lowercase().chars() {
        let c = if c.is_alphanumeric() || c == '-' { c } else { '_' };
        if word.len() + c.len_utf8() > LONGEST {
            break;
        }
        word.push(c);
    }
    if word.is_empty() { otherwise.to_owned() } else { word }
}
