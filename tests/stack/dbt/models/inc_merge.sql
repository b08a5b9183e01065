{{ config(materialized='incremental', views_enabled=false, incremental_strategy='merge', unique_key=['id', 'region'], on_schema_change='sync_all_columns') }}
select id, region, amount{{ ', status' if var('wide', false) else '' }} from {{ source('silver', 'orders') }}
{% if is_incremental() %} where id > (select max(id) - 10 from {{ this }}) {% endif %}
