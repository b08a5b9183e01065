{{ config(materialized='table', properties={'format': "'PARQUET'", 'partitioning': "ARRAY['region']"}, pre_hook="set session query_max_run_time = '9m'", post_hook=["alter table {{ this }} execute optimize", "analyze {{ this }}"]) }}
-- a comment; with a semicolon
select id, name, ssn, region, balance, date_of_birth as since from {{ source('silver', 'customers') }}
