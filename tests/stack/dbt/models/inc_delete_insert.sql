{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key=['id', 'region'], on_schema_change='append_new_columns') }}
select id, region, amount{{ ', status' if var('wide', false) else '' }} from {{ source('silver', 'orders') }}
{% if is_incremental() %} where id > (select max(id) - 10 from {{ this }}) {% endif %}
