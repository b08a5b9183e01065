{{ config(materialized='materialized_view') }}
select region, max(balance) as most from {{ ref('people') }} group by region
