{{ config(materialized='incremental', incremental_strategy='merge', unique_key='code', on_schema_change='sync_all_columns') }}
select code, name{{ ', area' if var('wide', false) else ', member' }} from {{ ref('countries') }}
