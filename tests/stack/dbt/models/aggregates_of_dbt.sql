{{ config(materialized='table') }}
select {{ dbt.listagg('status', "','", 'order by status') }} as a, {{ dbt.any_value('status') }} as b, {{ dbt.bool_or('amount > 1') }} as c
from {{ source('silver', 'orders') }}
{{ dbt.except() }}
select 'x', 'y', true
{{ dbt.intersect() }}
select 'x', 'y', true
