{{ config(materialized='incremental', views_enabled=false, incremental_strategy='append', unique_key=none, on_schema_change='append_new_columns') }}
select id, region, amount from {{ source('silver', 'orders') }}
{% if is_incremental() %} where id > (select max(id) - 10 from {{ this }}) {% endif %}
