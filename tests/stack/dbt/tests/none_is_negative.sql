{{ config(store_failures=true, limit=10) }}
select * from {{ ref('paid') }} where amount < 0
