{{ config(materialized='view', enabled=true) }}
{{ dbt.date_spine('day', "date '2025-01-01'", "date '2025-01-05'") }}
