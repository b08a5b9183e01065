//! Whether a text gives the same answer when the same tables are asked again.
//!
//! A list of what does: functions that are not on it may read a clock, draw lots, or know who asks. Where rows meet without
//! an order Trino is free in what it answers (`array_agg`, LIMIT, the last digits of a sum of doubles): any of these answers
//! is right at any time.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use super::{Call, Keyword, Special, SpecialKind, Token, TokenKind, fold_column};

/// The built-in functions of Trino 476 whose value depends on their arguments, the session's time zone and its language
/// alone, in lower case. A test asks Trino whether it agrees.
const FUNCTIONS: &str = "
    abs acos all_match any_match any_value approx_distinct approx_most_frequent approx_percentile approx_set \
    arbitrary array_agg array_distinct array_except array_histogram array_intersect array_join array_max \
    array_min array_position array_remove array_sort array_union arrays_overlap asin at_timezone atan atan2 avg \
    bar beta_cdf bing_tile bing_tile_at bing_tile_coordinates bing_tile_polygon bing_tile_quadkey \
    bing_tile_zoom_level bing_tiles_around bit_count bitwise_and bitwise_and_agg bitwise_left_shift bitwise_not \
    bitwise_or bitwise_or_agg bitwise_right_shift bitwise_right_shift_arithmetic bitwise_xor bitwise_xor_agg \
    bool_and bool_or cardinality cbrt ceil ceiling checksum chr coalesce codepoint color combinations concat \
    concat_ws contains contains_sequence convex_hull_agg corr cos cosh cosine_distance cosine_similarity count \
    count_if covar_pop covar_samp crc32 cume_dist date date_add date_diff date_format date_parse date_trunc day \
    day_of_month day_of_week day_of_year degrees dense_rank dot_product dow doy e element_at empty_approx_set \
    euclidean_distance every exp filter first_value flatten floor format format_datetime format_number from_base \
    from_base32 from_base64 from_base64url from_big_endian_32 from_big_endian_64 from_encoded_polyline \
    from_geojson_geometry from_hex from_ieee754_32 from_ieee754_64 from_iso8601_date from_iso8601_timestamp \
    from_iso8601_timestamp_nanos from_unixtime from_unixtime_nanos from_utf8 geometric_mean \
    geometry_from_hadoop_shape geometry_invalid_reason geometry_nearest_points geometry_to_bing_tiles \
    geometry_union geometry_union_agg great_circle_distance greatest hamming_distance hash_counts histogram \
    hmac_md5 hmac_sha1 hmac_sha256 hmac_sha512 hour human_readable_seconds if infinity intersection_cardinality \
    inverse_beta_cdf inverse_normal_cdf is_finite is_infinite is_json_scalar is_nan jaccard_index \
    json_array_contains json_array_get json_array_length json_extract json_extract_scalar json_format json_parse \
    json_size kurtosis lag last_day_of_month last_value lead least length levenshtein_distance \
    line_interpolate_point line_interpolate_points line_locate_point listagg ln log log10 log2 lower lpad ltrim \
    luhn_check make_set_digest map map_agg map_concat map_entries map_filter map_from_entries map_keys map_union \
    map_values map_zip_with max max_by md5 merge merge_set_digest millisecond min min_by minute mod month \
    multimap_agg multimap_from_entries murmur3 nan ngrams none_match normal_cdf normalize nth_value ntile nullif \
    numeric_histogram parse_data_size parse_datetime parse_duration parse_presto_data_size percent_rank pi pow \
    power qdigest_agg quantile_at_value quarter radians rank reduce reduce_agg regexp_count regexp_extract \
    regexp_extract_all regexp_like regexp_position regexp_replace regexp_split regr_intercept regr_slope render \
    repeat replace reverse rgb round row_number rpad rtrim second sequence sha1 sha256 sha512 sign \
    simplify_geometry sin sinh skewness slice soundex spatial_partitioning spatial_partitions split split_part \
    split_to_map split_to_multimap spooky_hash_v2_32 spooky_hash_v2_64 sqrt st_area st_asbinary st_astext \
    st_boundary st_buffer st_centroid st_contains st_convexhull st_coorddim st_crosses st_difference \
    st_dimension st_disjoint st_distance st_endpoint st_envelope st_envelopeaspts st_equals st_exteriorring \
    st_geometries st_geometryfromtext st_geometryn st_geometrytype st_geomfrombinary st_geomfromkml \
    st_interiorringn st_interiorrings st_intersection st_intersects st_isclosed st_isempty st_isring st_issimple \
    st_isvalid st_length st_linefromtext st_linestring st_multipoint st_numgeometries st_numinteriorring \
    st_numpoints st_overlaps st_point st_pointn st_points st_polygon st_relate st_startpoint st_symdifference \
    st_touches st_union st_within st_x st_xmax st_xmin st_y st_ymax st_ymin starts_with stddev stddev_pop \
    stddev_samp strpos substr substring sum t_cdf t_pdf tan tanh tdigest_agg timezone timezone_hour \
    timezone_minute to_base to_base32 to_base64 to_base64url to_big_endian_32 to_big_endian_64 \
    to_encoded_polyline to_geojson_geometry to_geometry to_hex to_ieee754_32 to_ieee754_64 to_iso8601 \
    to_milliseconds to_spherical_geography to_unixtime to_utf8 transform transform_keys transform_values \
    translate trim trim_array truncate try typeof upper url_decode url_encode url_extract_fragment \
    url_extract_host url_extract_parameter url_extract_path url_extract_port url_extract_protocol \
    url_extract_query value_at_quantile values_at_quantiles var_pop var_samp variance week week_of_year \
    width_bucket wilson_interval_lower wilson_interval_upper with_timezone word_stem xxhash64 year year_of_week \
    yow zip zip_with";

static KNOWN: LazyLock<HashSet<&'static str>> = LazyLock::new(|| repeatable_functions().collect());

/// The functions that give the same value again, in lower case.
pub fn repeatable_functions() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.split_ascii_whitespace()
}

/// What an answer depends on besides tables and the session's zone and language.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repeat {
    /// On who asks: `current_user`.
    pub user: bool,
    /// On the day: `current_date`.
    pub date: bool,
    /// On something else, such as a clock or chance: what that is.
    pub never: Option<Arc<str>>,
}

impl Repeat {
    /// That of a text which is never the same again.
    pub fn never(what: impl Into<Arc<str>>) -> Self {
        Self { never: Some(what.into()), ..Self::default() }
    }

    /// That of two texts together.
    pub fn and(&mut self, other: &Self) {
        self.user |= other.user;
        self.date |= other.date;
        if self.never.is_none() {
            self.never.clone_from(&other.never);
        }
    }
}

/// What a text depends on, by what it mentions. `slice` gives the text of tokens.
pub(super) fn of<'t, 'c>(
    tokens: &[Token],
    calls: impl IntoIterator<Item = &'c Call>,
    specials: &[Special],
    slice: impl Fn(std::ops::Range<u32>) -> &'t str,
) -> Repeat {
    let mut repeat = Repeat::default();
    if tokens.iter().any(|token| token.kind == TokenKind::Keyword(Keyword::Tablesample)) {
        repeat.and(&Repeat::never("TABLESAMPLE"));
    }
    for call in calls {
        let parts: Vec<String> = call.name.iter().map(|part| part.value.to_lowercase()).collect();
        let name = match &parts[..] {
            [name] => Some(name),
            [catalog, schema, name] if catalog == "system" && schema == "builtin" => Some(name),
            _ => None,
        };
        let known = name.is_some_and(|name| KNOWN.contains(name.as_str())) && !call.table;
        if !known {
            repeat.and(&Repeat::never(parts.join(".")));
        }
    }
    for special in specials {
        match special.kind {
            SpecialKind::CurrentUser => repeat.user = true,
            SpecialKind::CurrentDate => repeat.date = true,
            SpecialKind::CurrentTime
            | SpecialKind::CurrentTimestamp
            | SpecialKind::LocalTime
            | SpecialKind::LocalTimestamp
            | SpecialKind::CurrentPath => {
                repeat.and(&Repeat::never(slice(special.tokens.clone()).to_lowercase()));
            }
            // A time of day that becomes a timestamp is one of today.
            SpecialKind::TimeType => {
                let first = slice(special.tokens.start..special.tokens.start + 1);
                if !matches!(&*fold_column(first.trim_matches('"')), "timestamp" | "date" | "interval") {
                    repeat.and(&Repeat::never("time"));
                }
            }
            // The first two are sent as literals.
            SpecialKind::CurrentCatalog
            | SpecialKind::CurrentSchema
            | SpecialKind::Concat
            | SpecialKind::AtTimeZone
            | SpecialKind::Parameter
            | SpecialKind::Subquery => {}
        }
    }
    repeat
}

#[cfg(test)]
mod tests {
    use crate::sql::{Limits, Statement};

    #[test]
    fn what_an_answer_depends_on() {
        let check = |sql: &str, expect: &str| {
            let statement = Statement::parse(sql, &Limits::default()).expect("a statement");
            let repeat = statement.repeat();
            let mut got = String::new();
            for (is, word) in [(repeat.user, "user "), (repeat.date, "date ")] {
                got.push_str(if is { word } else { "" });
            }
            got.push_str(repeat.never.as_deref().unwrap_or_default());
            assert_eq!(got.trim(), expect, "{sql}");
        };
        check("SELECT sum(a), Lower(b), system.builtin.round(c) FROM t GROUP BY 2, 3", "");
        check("SELECT a || b, a AT TIME ZONE 'UTC', coalesce(a, b), try(a), if(a, b) FROM t", "");
        check("SELECT TIMESTAMP '2020-01-01', CAST(a AS timestamp(3) with time zone) FROM t", "");
        check("SELECT \"random\", now FROM t LIMIT 3", "");
        check("SELECT current_user FROM t WHERE a < current_date", "user date");
        for (sql, what) in [
            ("SELECT random()", "random"),
            ("SELECT RAND(3)", "rand"),
            ("SELECT \"uuid\"()", "uuid"),
            ("SELECT system.builtin.shuffle(a) FROM t", "system.builtin.shuffle"),
            ("SELECT now()", "now"),
            ("SELECT current_timestamp", "current_timestamp"),
            ("SELECT current_time(3)", "current_time(3)"),
            ("SELECT localtime", "localtime"),
            ("SELECT localtimestamp(6)", "localtimestamp(6)"),
            ("SELECT current_path", "current_path"),
            ("SELECT current_timezone()", "current_timezone"),
            ("SELECT current_groups()", "current_groups"),
            ("SELECT a FROM t WHERE EXISTS (SELECT uuid())", "uuid"),
            ("SELECT a FROM t ORDER BY random()", "random"),
            ("SELECT transform(a, x -> x + rand()) FROM t", "rand"),
            ("SELECT a.b.f(x) FROM t", "a.b.f"),
            ("SELECT f(x) FROM t", "f"),
            ("SELECT * FROM t TABLESAMPLE BERNOULLI (10)", "TABLESAMPLE"),
            ("SELECT * FROM (VALUES 1) TABLESAMPLE SYSTEM (10)", "TABLESAMPLE"),
            ("SELECT * FROM TABLE(sequence(1, 3))", "sequence"),
            ("SELECT CAST(a AS time) FROM t", "time"),
            ("SELECT CAST(a AS \"TIME\"(3)) FROM t", "time"),
            ("SELECT CAST(a AS row(x time with time zone)) FROM t", "time"),
            ("SELECT TIME '10:00'", "time"),
        ] {
            check(sql, what);
        }
    }
}
