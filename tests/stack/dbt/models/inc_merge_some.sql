{{ config(materialized='incremental', incremental_strategy='merge', unique_key='id', merge_update_columns=['amount'], incremental_predicates=['DBT_INTERNAL_DEST.id > 5'], views_enabled=false) }}
select id, region, amount from {{ source('silver', 'orders') }}
