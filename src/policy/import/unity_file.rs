//! What the API and the information schema of Unity Catalog list.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::unity_policy::AbacPolicy;

/// Keys of a table and of a column that say nothing about who sees what.
pub(super) const OF_TABLES: [&str; 33] = [
    "access_point",
    "browse_only",
    "catalog_id",
    "comment",
    "created_at",
    "created_by",
    "data_access_configuration_id",
    "data_source_format",
    "deleted_at",
    "delta_runtime_properties_kvpairs",
    "effective_predictive_optimization_flag",
    "enable_predictive_optimization",
    "encryption_details",
    "full_name",
    "generation",
    "metastore_id",
    "owner",
    "pipeline_id",
    "properties",
    "schema_id",
    "securable_kind",
    "securable_kind_manifest",
    "securable_type",
    "sql_path",
    "storage_credential_name",
    "storage_location",
    "table_constraints",
    "table_id",
    "table_type",
    "updated_at",
    "updated_by",
    "view_definition",
    "view_dependencies",
];
pub(super) const OF_COLUMNS: [&str; 10] = [
    "comment",
    "nullable",
    "partition_index",
    "position",
    "type_interval_type",
    "type_json",
    "type_name",
    "type_precision",
    "type_scale",
    "column_id",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) tables: Vec<Table>,
    #[serde(default)]
    pub(super) functions: Vec<Function>,
    #[serde(default)]
    pub(super) policies: Vec<AbacPolicy>,
    pub(super) column_tags: Option<Vec<TagRow>>,
    pub(super) table_tags: Option<Vec<TagRow>>,
    pub(super) schema_tags: Option<Vec<TagRow>>,
    pub(super) catalog_tags: Option<Vec<TagRow>>,
    #[serde(default)]
    pub(super) row_filters: Vec<FilterRow>,
    #[serde(default)]
    pub(super) column_masks: Vec<MaskRow>,
    #[serde(default)]
    pub(super) routines: Vec<RoutineRow>,
    #[serde(default)]
    pub(super) parameters: Vec<ParameterRow>,
    pub(super) next_page_token: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Table {
    pub(super) catalog_name: String,
    pub(super) schema_name: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) columns: Vec<ColumnInfo>,
    pub(super) row_filter: Option<RowFilter>,
    #[serde(flatten)]
    pub(super) rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
pub(super) struct ColumnInfo {
    pub(super) name: String,
    pub(super) type_text: Option<String>,
    pub(super) mask: Option<ColumnMask>,
    #[serde(flatten)]
    pub(super) rest: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RowFilter {
    pub(super) function_name: String,
    #[serde(default)]
    pub(super) input_column_names: Vec<String>,
    pub(super) using_arguments: Option<Vec<Using>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ColumnMask {
    pub(super) function_name: String,
    #[serde(default)]
    pub(super) using_column_names: Vec<String>,
    pub(super) using_arguments: Option<Vec<Using>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Using {
    pub(super) column: Option<String>,
    pub(super) constant: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Function {
    pub(super) catalog_name: String,
    pub(super) schema_name: String,
    pub(super) name: String,
    pub(super) input_params: Option<Parameters>,
    pub(super) routine_body: Option<String>,
    pub(super) routine_definition: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Parameters {
    #[serde(default)]
    pub(super) parameters: Vec<Parameter>,
}

#[derive(Deserialize)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) type_text: Option<String>,
    #[serde(default)]
    pub(super) position: i64,
}

#[derive(Deserialize)]
pub(super) struct TagRow {
    pub(super) catalog_name: String,
    pub(super) schema_name: Option<String>,
    pub(super) table_name: Option<String>,
    pub(super) column_name: Option<String>,
    pub(super) tag_name: String,
    #[serde(default)]
    pub(super) tag_value: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct FilterRow {
    pub(super) catalog_name: String,
    pub(super) schema_name: String,
    pub(super) table_name: String,
    pub(super) filter_catalog: String,
    pub(super) filter_schema: String,
    pub(super) filter_name: String,
    #[serde(default)]
    pub(super) filter_col_usage: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct MaskRow {
    pub(super) catalog_name: String,
    pub(super) schema_name: String,
    pub(super) table_name: String,
    pub(super) column_name: String,
    pub(super) mask_catalog: String,
    pub(super) mask_schema: String,
    pub(super) mask_name: String,
    #[serde(default)]
    pub(super) mask_col_usage: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct RoutineRow {
    pub(super) specific_catalog: String,
    pub(super) specific_schema: String,
    pub(super) specific_name: String,
    pub(super) routine_body: Option<String>,
    pub(super) routine_definition: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ParameterRow {
    pub(super) specific_catalog: String,
    pub(super) specific_schema: String,
    pub(super) specific_name: String,
    pub(super) parameter_name: Option<String>,
    #[serde(default)]
    pub(super) ordinal_position: i64,
    pub(super) full_data_type: Option<String>,
}
