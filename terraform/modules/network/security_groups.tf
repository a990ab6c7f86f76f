# Who may speak to whom, as a table: every row is a way in at one end and a way out at the other.
locals {
  members = {
    entrance     = "the gateway's load balancer, or App Runner's entrance inside the network"
    gateway      = "the gateway's instances"
    jobs         = "training, monitoring, operators' commands"
    mlflow       = "the MLflow server"
    mlflow-entry = "MLflow's internal load balancer"
    database     = "PostgreSQL"
    endpoints    = "AWS services inside the network"
  }
  ways = {
    entrance-gateway  = { from = "entrance", to = "gateway", port = 8000 }
    gateway-database  = { from = "gateway", to = "database", port = 5432 }
    jobs-database     = { from = "jobs", to = "database", port = 5432 }
    mlflow-database   = { from = "mlflow", to = "database", port = 5432 }
    gateway-mlflow    = { from = "gateway", to = "mlflow-entry", port = 443 }
    jobs-mlflow       = { from = "jobs", to = "mlflow-entry", port = 443 }
    entry-mlflow      = { from = "mlflow-entry", to = "mlflow", port = 5000 }
    gateway-endpoints = { from = "gateway", to = "endpoints", port = 443 }
    jobs-endpoints    = { from = "jobs", to = "endpoints", port = 443 }
    mlflow-endpoints  = { from = "mlflow", to = "endpoints", port = 443 }
  }
  s3_users = toset(["gateway", "jobs", "mlflow"])
}

resource "aws_security_group" "member" {
  #checkov:skip=CKV2_AWS_5:attached, by for_each, which checkov does not follow
  for_each    = local.members
  name        = "${local.name}-${each.key}"
  description = each.value
  vpc_id      = aws_vpc.platform.id
}

resource "aws_vpc_security_group_egress_rule" "way" {
  for_each                     = local.ways
  description                  = each.key
  security_group_id            = aws_security_group.member[each.value.from].id
  referenced_security_group_id = aws_security_group.member[each.value.to].id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_ingress_rule" "way" {
  for_each                     = local.ways
  description                  = each.key
  security_group_id            = aws_security_group.member[each.value.to].id
  referenced_security_group_id = aws_security_group.member[each.value.from].id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "s3" {
  for_each          = local.s3_users
  description       = "S3 through its gateway endpoint"
  security_group_id = aws_security_group.member[each.value].id
  prefix_list_id    = aws_vpc_endpoint.s3.prefix_list_id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each          = toset(var.client_cidrs)
  description       = "the gateway's clients"
  security_group_id = aws_security_group.member["entrance"].id
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "mlflow_people" {
  for_each          = toset(var.mlflow_client_cidrs)
  description       = "people who open MLflow's page"
  security_group_id = aws_security_group.member["mlflow-entry"].id
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}
