{{ config(materialized='table', on_table_exists='replace', file_format='orc') }}
select region, count(*) as n from {{ ref('people') }} group by 1
