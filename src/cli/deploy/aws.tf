# Northgate on AWS: two gateways behind an Application Load Balancer that signs users in, a Trino that nobody but they can
# reach, and a bucket for the audit that nobody can change. `northgate deploy terraform > northgate.tf`
#
# An example to begin with. In northgate.toml: [identity.alb] with the load balancer's ARN (output `alb_arn`),
# server.trusted_proxies with the subnets of the load balancer, [audit.s3] with the bucket, and [state] with the Redis.
# Drivers do not follow the load balancer's sign-in: they use the second listener, port 8443, and Northgate's own.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "vpc_id" { type = string }
variable "public_subnets" { type = list(string) }
variable "private_subnets" { type = list(string) }
variable "certificate_arn" {
  description = "Of the name that people know, in ACM."
  type        = string
}
variable "clients" {
  description = "The networks of people and tools."
  type        = list(string)
}
variable "trino_security_group_id" {
  description = "The security group of Trino's coordinator (on EMR: of the primary node). It must have no other rule for its port."
  type        = string
}
variable "trino_port" {
  type    = number
  default = 8443
}
variable "oidc" {
  description = "The client at the identity provider, for the load balancer's sign-in."
  type = object({
    issuer                 = string
    authorization_endpoint = string
    token_endpoint         = string
    user_info_endpoint     = string
    client_id              = string
    client_secret          = string
  })
  sensitive = true
}
variable "ami_id" {
  description = "An image with Northgate, its unit and its configuration; its secrets come from Secrets Manager."
  type        = string
}
variable "instance_type" {
  type    = string
  default = "c7g.large"
}
variable "audit_bucket" { type = string }
variable "retention_days" {
  description = "How long nobody can remove what was copied: seven years."
  type        = number
  default     = 2557
}
variable "secrets" {
  description = "ARNs of the secrets that the gateways read at their start."
  type        = list(string)
  default     = []
}

data "aws_caller_identity" "this" {}

# Keys

resource "aws_kms_key" "audit" {
  description             = "Northgate: the audit's bucket and the gateways' disks"
  enable_key_rotation     = true
  deletion_window_in_days = 30
}

resource "aws_kms_alias" "audit" {
  name          = "alias/northgate-audit"
  target_key_id = aws_kms_key.audit.key_id
}

# The audit's bucket

resource "aws_s3_bucket" "audit" {
  bucket              = var.audit_bucket
  object_lock_enabled = true
}

resource "aws_s3_bucket_versioning" "audit" {
  bucket = aws_s3_bucket.audit.id
  versioning_configuration { status = "Enabled" }
}

resource "aws_s3_bucket_object_lock_configuration" "audit" {
  bucket = aws_s3_bucket.audit.id
  rule {
    default_retention {
      mode = "COMPLIANCE"
      days = var.retention_days
    }
  }
  depends_on = [aws_s3_bucket_versioning.audit]
}

resource "aws_s3_bucket_server_side_encryption_configuration" "audit" {
  bucket = aws_s3_bucket.audit.id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.audit.arn
    }
    bucket_key_enabled = true
  }
}

resource "aws_s3_bucket_public_access_block" "audit" {
  bucket                  = aws_s3_bucket.audit.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

data "aws_iam_policy_document" "audit_bucket" {
  statement {
    sid     = "OnlyEncrypted"
    effect  = "Deny"
    actions = ["s3:*"]
    resources = [
      aws_s3_bucket.audit.arn,
      "${aws_s3_bucket.audit.arn}/*",
    ]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "audit" {
  bucket = aws_s3_bucket.audit.id
  policy = data.aws_iam_policy_document.audit_bucket.json
}

# What the gateways may do

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "northgate" {
  name               = "northgate"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

data "aws_iam_policy_document" "northgate" {
  statement {
    sid       = "PutOnceAndLock"
    actions   = ["s3:PutObject", "s3:PutObjectRetention", "s3:GetObject"]
    resources = ["${aws_s3_bucket.audit.arn}/*"]
  }
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket", "s3:GetBucketObjectLockConfiguration"]
    resources = [aws_s3_bucket.audit.arn]
  }
  statement {
    sid       = "Encrypt"
    actions   = ["kms:GenerateDataKey", "kms:Decrypt"]
    resources = [aws_kms_key.audit.arn]
  }
  dynamic "statement" {
    for_each = length(var.secrets) > 0 ? [1] : []
    content {
      sid       = "Secrets"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = var.secrets
    }
  }
}

resource "aws_iam_role_policy" "northgate" {
  name   = "northgate"
  role   = aws_iam_role.northgate.id
  policy = data.aws_iam_policy_document.northgate.json
}

resource "aws_iam_instance_profile" "northgate" {
  name = "northgate"
  role = aws_iam_role.northgate.name
}

# Who reaches what: people the load balancer, the load balancer the gateways, the gateways Trino, nobody else anything.

resource "aws_security_group" "alb" {
  name        = "northgate-alb"
  description = "People and tools to the load balancer"
  vpc_id      = var.vpc_id
}

resource "aws_security_group" "northgate" {
  name        = "northgate"
  description = "The load balancer to the gateways"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "alb" {
  for_each          = { for pair in setproduct(var.clients, [443, 8443]) : "${pair[0]}-${pair[1]}" => pair }
  security_group_id = aws_security_group.alb.id
  cidr_ipv4         = each.value[0]
  from_port         = each.value[1]
  to_port           = each.value[1]
  ip_protocol       = "tcp"
}

resource "aws_vpc_security_group_egress_rule" "alb" {
  for_each                     = toset(["8443", "9443"])
  security_group_id            = aws_security_group.alb.id
  referenced_security_group_id = aws_security_group.northgate.id
  from_port                    = tonumber(each.key)
  to_port                      = tonumber(each.key)
  ip_protocol                  = "tcp"
}

# The load balancer asks the identity provider for tokens.
resource "aws_vpc_security_group_egress_rule" "alb_oidc" {
  security_group_id = aws_security_group.alb.id
  cidr_ipv4         = "0.0.0.0/0"
  from_port         = 443
  to_port           = 443
  ip_protocol       = "tcp"
}

# 9443 is the admin listener, for the health check alone.
resource "aws_vpc_security_group_ingress_rule" "northgate" {
  for_each                     = toset(["8443", "9443"])
  security_group_id            = aws_security_group.northgate.id
  referenced_security_group_id = aws_security_group.alb.id
  from_port                    = tonumber(each.key)
  to_port                      = tonumber(each.key)
  ip_protocol                  = "tcp"
}

resource "aws_vpc_security_group_egress_rule" "northgate" {
  security_group_id = aws_security_group.northgate.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

resource "aws_vpc_security_group_ingress_rule" "trino" {
  security_group_id            = var.trino_security_group_id
  referenced_security_group_id = aws_security_group.northgate.id
  from_port                    = var.trino_port
  to_port                      = var.trino_port
  ip_protocol                  = "tcp"
}

# The gateways, one after another when their image changes: none leaves before its queries have ended.

resource "aws_launch_template" "northgate" {
  name_prefix            = "northgate-"
  image_id               = var.ami_id
  instance_type          = var.instance_type
  vpc_security_group_ids = [aws_security_group.northgate.id]
  iam_instance_profile { name = aws_iam_instance_profile.northgate.name }
  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }
  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      volume_size = 100
      volume_type = "gp3"
      encrypted   = true
    }
  }
}

resource "aws_autoscaling_group" "northgate" {
  name                = "northgate"
  min_size            = 2
  max_size            = 3
  desired_capacity    = 2
  vpc_zone_identifier = var.private_subnets
  health_check_type   = "ELB"
  target_group_arns   = [aws_lb_target_group.northgate.arn]
  launch_template {
    id      = aws_launch_template.northgate.id
    version = aws_launch_template.northgate.latest_version
  }
  instance_refresh {
    strategy = "Rolling"
    preferences { min_healthy_percentage = 100 }
  }
}

resource "aws_autoscaling_lifecycle_hook" "drain" {
  name                   = "drain"
  autoscaling_group_name = aws_autoscaling_group.northgate.name
  lifecycle_transition   = "autoscaling:EC2_INSTANCE_TERMINATING"
  heartbeat_timeout      = 3900
  default_result         = "CONTINUE"
}

# The load balancer

resource "aws_lb" "northgate" {
  name                       = "northgate"
  internal                   = true
  load_balancer_type         = "application"
  security_groups            = [aws_security_group.alb.id]
  subnets                    = var.public_subnets
  drop_invalid_header_fields = true
  idle_timeout               = 360
}

resource "aws_lb_target_group" "northgate" {
  name                 = "northgate"
  port                 = 8443
  protocol             = "HTTPS"
  vpc_id               = var.vpc_id
  deregistration_delay = 3600
  health_check {
    protocol            = "HTTP"
    port                = "9443"
    path                = "/ready"
    interval            = 10
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

# People, signed in by the load balancer.
resource "aws_lb_listener" "people" {
  load_balancer_arn = aws_lb.northgate.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn
  default_action {
    order = 1
    type  = "authenticate-oidc"
    authenticate_oidc {
      issuer                 = var.oidc.issuer
      authorization_endpoint = var.oidc.authorization_endpoint
      token_endpoint         = var.oidc.token_endpoint
      user_info_endpoint     = var.oidc.user_info_endpoint
      client_id              = var.oidc.client_id
      client_secret          = var.oidc.client_secret
    }
  }
  default_action {
    order            = 2
    type             = "forward"
    target_group_arn = aws_lb_target_group.northgate.arn
  }
}

# Drivers and programs, signed in by Northgate.
resource "aws_lb_listener" "drivers" {
  load_balancer_arn = aws_lb.northgate.arn
  port              = 8443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.northgate.arn
  }
}

output "alb_arn" { value = aws_lb.northgate.arn }
output "alb_name" { value = aws_lb.northgate.dns_name }
output "account" { value = data.aws_caller_identity.this.account_id }
