{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='id', incremental_predicates=["id > 0"]) }}
select id, region, amount from {{ source('silver', 'orders') }}
